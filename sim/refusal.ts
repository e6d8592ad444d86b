import { err, type Result } from '#domain/result.ts';

/** libvirt's own refusals, by its error codes (libvirt/virterror.h). */
export interface No {
  readonly code: number;
  readonly message: string;
}

export const no = (code: number, message: string): Result<never, No> => err({ code, message });
