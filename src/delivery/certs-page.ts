import { z } from 'zod';
import { CarnetError } from '../errors.ts';
import { type ShownCertificate, serialText, type TlsContext } from './in-use.ts';

const Certificate = z.object({
  serial_number: z.string().default(''),
  subject_alt_names: z.array(z.object({ uri: z.string().optional() })).default([]),
});
const Page = z.object({
  certificates: z
    .array(
      z.object({
        ca_cert: z.array(Certificate).default([]),
        cert_chain: z.array(Certificate).default([]),
      }),
    )
    .default([]),
});

/** Reads the answer of Envoy's admin `/certs` (envoy.admin.v3.Certificates). Throws `invalid_argument`. */
export function parseCertsPage(text: string): TlsContext[] {
  try {
    return Page.parse(JSON.parse(text)).certificates.map(({ ca_cert, cert_chain }) => ({
      roots: ca_cert.map(shown),
      chain: cert_chain.map(shown),
    }));
  } catch (cause) {
    throw new CarnetError('invalid_argument', "the answer is not one of Envoy's /certs", { cause });
  }
}

function shown({ serial_number, subject_alt_names }: z.output<typeof Certificate>): ShownCertificate {
  return {
    serial: serialText(serial_number),
    uris: subject_alt_names.flatMap(({ uri }) => uri ?? []),
  };
}
