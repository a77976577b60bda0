/** The base of all errors of this package. */
export class EventError<Kind extends ErrorKind = ErrorKind> extends Error {
  /** What the caller must do about it. */
  readonly kind: Kind;
  /** Whether the same call can succeed later without a change. */
  readonly retryable: boolean;
  /** Named facts: `topic`, `partition`, `event`, `field`, `setting`, … */
  readonly context: Readonly<Record<string, string>>;
  /** `context.topic`. */
  readonly topic: string | undefined;
  /** `context.event`. */
  readonly event: string | undefined;
  /** `context.field`. */
  readonly field: string | undefined;
  /** `context.setting`. */
  readonly setting: string | undefined;
  /** Of a `sendMany`: each record that failed, by its index. */
  failures?: ReadonlyArray<{ readonly index: number; readonly error: Error }>;
  /** Of a `sendMany`: how many records were delivered. */
  delivered?: number;
}
