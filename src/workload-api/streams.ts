import type { Holder } from '../delivery/holdings.ts';
import type { StreamObserver } from '../delivery/observer.ts';
import type { Grant } from '../policy/entry.ts';
import type { Answering } from './answer-stream.ts';
import { jwtBundlesAnswer } from './jwt-answers.ts';
import { x509BundlesAnswer, x509SvidAnswer } from './x509-answers.ts';

/** What a streaming method says, of its caller's holdings and grants as they change. */
export type StreamMethod = (
  holder: Holder,
  grants: () => readonly Grant[],
) => Answering<unknown> & { readonly trust: 'x509' | 'jwt' };

/** FetchX509SVID. */
export const svidAnswering: StreamMethod = (holder, grants) => ({
  trust: 'x509',
  answer: (patient) => x509SvidAnswer(holder.current(), grants(), patient),
  sent: (observer) => {
    for (const { identity, serial, notAfter } of holder.current().svids)
      observer.sent(identity, serial, notAfter);
    sentBundle(observer, holder);
  },
});

/** FetchX509Bundles. */
export const bundlesAnswering: StreamMethod = (holder) => ({
  trust: 'x509',
  answer: () => x509BundlesAnswer(holder.current()),
  sent: (observer) => sentBundle(observer, holder),
});

/** FetchJWTBundles. */
export const jwtBundlesAnswering: StreamMethod = (holder) => ({
  trust: 'jwt',
  answer: () => jwtBundlesAnswer(holder.current()),
  sent: (observer) => {
    const { trustDomain, sequence } = holder.current().bundle;
    observer.sent(`spiffe://${trustDomain} (JWT)`, `${sequence}`, null);
  },
});

/** Its version begins with the sequence by which rotation counts who was sent what. */
function sentBundle(observer: StreamObserver, holder: Holder): void {
  const { trustDomain, x509Sequence } = holder.current().bundle;
  observer.sent(`spiffe://${trustDomain}`, `${x509Sequence}`, null);
}
