
/** What producers and consumers have in common. */
export interface ClientOptions extends ConnectionSettings {
  /** The registry's URL, or several. */
  schemaRegistryUrl?: string | readonly string[] | undefined;
  /** All other settings of the registry. */
  registry?: RegistrySettings | undefined;
  /** PEM text, as Node's own `tls.connect` takes it; `false` turns TLS off. */
  tls?: TlsOptions | boolean | null | undefined;
}
