import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { parseArgs } from 'node:util';
import { createSvidIssuer } from '../src/agent/issue-svid.ts';
import type { IssueRequest } from '../src/ca/issue-request.ts';
import { systemClock } from '../src/clock.ts';
import type { Grant } from '../src/policy/entry.ts';
import { buildCsr } from '../src/x509/build-csr.ts';
import { type IssuingServer, startIssuingServer } from './support/issuing-server.ts';
import { type LoadOptions, load, loadAtOnce, type Measured } from './support/load.ts';
import { formatTable, machine, median } from './support/table.ts';
import { attestationOf, grantOf } from './support/workload.ts';

/** About the size of an X509-SVID's TBSCertificate. */
const SIGNED_BYTES = 420;
const WORKLOADS = 4096;
const NODE = 'bench';

/**
 * `npm run bench -- issue [--concurrency N] [--seconds S] [--repeats R]`: recorded issuances a second on an
 * embedded PostgreSQL, and what one costs Node and PostgreSQL, beside the bare signature in the same run.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      concurrency: { type: 'string', default: '256' },
      seconds: { type: 'string', default: '3' },
      repeats: { type: 'string', default: '5' },
    },
  });
  process.stdout.write(`${machine()}\n`);
  await using server = await startIssuingServer(systemClock);
  const rows = rowsOf(server, {
    concurrency: Number(values.concurrency),
    seconds: Number(values.seconds),
    postgresCpuMicros: server.postgresCpuMicros,
  });
  const measured = rows.map((): Measured[] => []);
  for (let repeat = 0; repeat < Number(values.repeats); repeat++)
    for (const [at, row] of rows.entries()) measured[at]?.push(await row.measure());
  process.stdout.write(
    `${values.concurrency} requests at once, medians of ${values.repeats} repeats of ${values.seconds} s; CPU time of each operation\n\n` +
      `${formatTable(HEADER, rows.map(cellsOf(measured)))}\n` +
      'Aims: 3,000 recorded a second on 2 cores, Node at most 3 times the signature.\n' +
      'Each leaf takes 1 signature and 2 verifications: the proof of possession, and our own of what was signed.\n',
  );
}

const HEADER = ['', 'a second', 'Node µs', 'PostgreSQL µs', '× signature', 'p99 ms', "others' CPUs"];

interface Row {
  readonly name: string;
  measure(): Measured | Promise<Measured>;
}

function rowsOf({ issue, issueUnrecorded }: IssuingServer, options: LoadOptions): Row[] {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const data = randomBytes(SIGNED_BYTES);
  const signature = sign('sha256', data, privateKey);
  const requests = createRequests();
  const requestOf = (number: number): WorkloadRequest => requests[number % WORKLOADS] as WorkloadRequest;
  const issueSvid = createSvidIssuer(issue, NODE);
  return [
    {
      name: 'P-256 signature alone',
      measure: () => loadAtOnce(() => sign('sha256', data, privateKey), options.seconds),
    },
    {
      name: 'P-256 verification alone',
      measure: () => loadAtOnce(() => verify('sha256', data, publicKey, signature), options.seconds),
    },
    {
      name: 'issued, not recorded',
      measure: () => load((number) => issueUnrecorded(requestOf(number)), options),
    },
    { name: 'issued and recorded', measure: () => load((number) => issue(requestOf(number)), options) },
    {
      name: "the same with the agent's part (key, CSR)",
      measure: () =>
        load((number) => issueSvid(requestOf(number).grant, requestOf(number).attestation), options),
    },
  ];
}

type WorkloadRequest = IssueRequest & { readonly grant: Grant };

/** Of as many workloads, with keys and CSRs made beforehand. */
function createRequests(): WorkloadRequest[] {
  return Array.from({ length: WORKLOADS }, (_, number) => ({
    csr: buildCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' })),
    grant: grantOf(number),
    attestation: attestationOf(number),
    node: NODE,
    requester: `agent:${NODE}`,
  }));
}

/** Medians of a row's repeats; a ratio is to the signature of the same repeat, which is the first row. */
function cellsOf(measured: readonly Measured[][]): (row: Row, at: number) => (string | number)[] {
  return ({ name }, at) => {
    const repeats = measured[at] ?? [];
    const of = (field: keyof Measured): number => median(repeats.map((one) => one[field]));
    const ratios = repeats.map(
      ({ nodeMicros }, repeat) => nodeMicros / (measured[0]?.[repeat]?.nodeMicros ?? Number.NaN),
    );
    const costs = [of('nodeMicros'), of('postgresMicros'), median(ratios)];
    return [name, of('perSecond'), ...costs, of('p99Ms'), of('othersCpus')];
  };
}
