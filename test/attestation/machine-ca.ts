import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openssl } from '../x509/openssl.ts';

export type KeyType = 'ec-p256' | 'ec-p384' | 'rsa' | 'ed25519';

/** A certificate and its key, both PEM and in files. */
export interface Issued {
  readonly certificate: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}

export interface Wish {
  /** As openssl reads it, for example `/CN=web1`. */
  readonly subject: string;
  /** Lines of an extension section. */
  readonly extensions: readonly string[];
  readonly key?: KeyType;
}

const KEYS: Readonly<Record<KeyType, readonly string[]>> = {
  'ec-p256': ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'ec-p384': ['EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  rsa: ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  ed25519: ['ED25519'],
};

export const CA_EXTENSIONS = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign'];
export const MACHINE_EXTENSIONS = [
  'basicConstraints=critical,CA:FALSE',
  'keyUsage=critical,digitalSignature',
  'extendedKeyUsage=serverAuth,clientAuth',
  'subjectAltName=DNS:web1.example.org,DNS:web1',
];

/** An existing CA of machines, made by the openssl command in a directory of its own. Lives 30 days. */
export class MachineCa {
  readonly #directory = mkdtempSync(join(tmpdir(), 'carnet-machine-ca-'));
  #made = 0;

  root(subject: string, key: KeyType = 'ec-p256'): Issued {
    return this.#make({ subject, extensions: CA_EXTENSIONS, key }, null);
  }

  issue(issuer: Issued, wish: Wish): Issued {
    return this.#make(wish, issuer);
  }

  /** Writes these to one file, as a CA file or a chain has them. */
  bundle(...issued: readonly Issued[]): string {
    return this.write(issued.map(({ certificate }) => certificate).join(''));
  }

  write(text: string): string {
    const file = join(this.#directory, `${++this.#made}`);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #make({ subject, extensions, key = 'ec-p256' }: Wish, issuer: Issued | null): Issued {
    const base = join(this.#directory, `${++this.#made}`);
    const [keyFile, certificateFile, request] = [`${base}.key`, `${base}.pem`, `${base}.csr`];
    run('genpkey', '-algorithm', ...KEYS[key], '-out', keyFile);
    run('req', '-new', '-subj', subject, '-key', keyFile, '-out', request);
    const signer =
      issuer === null ? ['-key', keyFile] : ['-CA', issuer.certificateFile, '-CAkey', issuer.keyFile];
    const section = this.write(`${extensions.join('\n')}\n`);
    run(
      'x509',
      '-req',
      '-in',
      request,
      ...signer,
      '-days',
      '30',
      '-extfile',
      section,
      '-out',
      certificateFile,
    );
    return { certificate: readFileSync(certificateFile, 'utf8'), certificateFile, keyFile };
  }
}

function run(...args: string[]): void {
  const { status, stderr } = openssl(args);
  if (status !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr}`);
}
