/** What one request may be and how long it may take. */
export const LIMITS = {
  bodyBytes: 16 * 1024,
  /** `delete_info` is JSON in the query string, so this bounds it too. */
  urlBytes: 8 * 1024,
  /** All names and values together. */
  headerBytes: 16 * 1024,
  headerFields: 64,
  jsonDepth: 8,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 15_000,
  /** How often Node looks for requests that are late. Its default of 30 s is no limit at all. */
  lateCheckMs: 1_000,
  /** A silent socket. Longer than the 8 s in which a request is decided. */
  socketTimeoutMs: 30_000,
  keepAliveMs: 5_000,
  requestsPerSocket: 1_000,
  /** Sockets beyond those whose requests are queued: a full queue is answered, not dropped. */
  spareSockets: 256,
  retryAfterSeconds: 5,
} as const;
