/** An option of the configuration, as a person looks it up. */
export interface DescribedOption {
  readonly group: string;
  readonly name: string;
  /** Null where there is none. */
  readonly fallback: string | null;
  readonly says: string;
  /** As oslo-config-generator calls it. */
  readonly type: 'string' | 'integer' | 'port' | 'boolean' | 'list' | 'URI' | 'host address';
  readonly choices?: readonly string[];
  readonly least?: number;
  readonly most?: number;
}
