/** What is counted and measured while the service runs, and forgotten when it stops. */
export interface Measures {
  /** All of it as it is now, in Prometheus' text form (version 0.0.4). */
  exposition(): Promise<string>;
}
