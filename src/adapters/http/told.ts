const LONGEST_DETAIL = 400;

/** What a fault's words need to know of the request. */
export interface Named {
  readonly name: string;
  readonly secrets: readonly string[];
}

/** One line of bounded length without secrets, whatever a foreign answer holds. */
export function told({ name, secrets }: Named, words: string): string {
  const masked = secrets.reduce(
    (so, secret) => (secret === '' ? so : so.replaceAll(secret, '***')),
    `${name}: ${words}`,
  );
  return masked.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').slice(0, LONGEST_DETAIL);
}
