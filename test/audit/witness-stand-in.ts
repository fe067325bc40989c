import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Checkpoint, parseCheckpoint } from '../../src/audit/log/checkpoint.ts';
import { witnessId } from '../../src/audit/log/cosignature.ts';
import { EMPTY_ROOT } from '../../src/audit/log/merkle.ts';
import { parseNote } from '../../src/audit/log/note.ts';
import { checkConsistency } from '../../src/audit/log/proof.ts';
import type { Witness } from '../../src/audit/witness.ts';
import { type Cosigner, newCosigner } from './log/cosigner.ts';

/** What a test has it do instead of its duty; false to do its duty after all. */
export type Misbehaviour = (
  response: ServerResponse,
  request: IncomingMessage,
  body: string,
) => boolean | undefined;

/** A witness over HTTP on this machine, that does what C2SP tlog-witness says until it is told otherwise. */
export interface WitnessStandIn extends AsyncDisposable {
  readonly witness: Witness;
  readonly cosigner: Cosigner;
  /** The latest that it cosigned. */
  known: Pick<Checkpoint, 'size' | 'root'>;
  misbehave: Misbehaviour | null;
  /** The bodies of all requests that came. */
  readonly asked: string[];
}

export async function startWitness(name: string, type: 4 | 6 = 4): Promise<WitnessStandIn> {
  const cosigner = newCosigner(name, type);
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      standIn.asked.push(body);
      if (request.method !== 'POST' || request.url !== '/w/add-checkpoint') response.writeHead(405).end();
      else if (!standIn.misbehave?.(response, request, body)) answer(standIn, response, body);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/w`;
  const standIn: WitnessStandIn = {
    witness: { id: witnessId(cosigner.key), key: cosigner.key, url },
    cosigner,
    known: { size: 0, root: EMPTY_ROOT },
    misbehave: null,
    asked: [],
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return standIn;
}

function answer(standIn: WitnessStandIn, response: ServerResponse, body: string): void {
  const end = body.indexOf('\n\n');
  const [old = '', ...lines] = body.slice(0, end).split('\n');
  const { text } = parseNote(body.slice(end + 2));
  const checkpoint = parseCheckpoint(text);
  const { known } = standIn;
  if (old !== `old ${known.size}`) {
    response.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end(`${known.size}\n`);
    return;
  }
  const proof = lines.map((line) => Buffer.from(line, 'base64'));
  if (!checkConsistency(known, checkpoint, proof)) {
    response.writeHead(422).end('no consistency\n');
    return;
  }
  standIn.known = checkpoint;
  response.end(standIn.cosigner.cosign(text));
}
