import type { CertificateValidationContext } from '../gen/envoy/extensions/transport_sockets/tls/v3/common.ts';
import { SPIFFECertValidatorConfig } from '../gen/envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { encodePem } from '../x509/pem.ts';

const NAME = 'envoy.tls.cert_validator.spiffe';
const TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig';

/**
 * A validation context in which Envoy verifies a chain by the roots of the trust domain that its leaf names, and by
 * no others: its plain trusted CA would take any name from any root. A domain without roots is left out, as Envoy
 * refuses an empty bundle: nobody of it is accepted, and with no domain at all nobody is.
 *
 * This validator takes CRLs only beside the roots that they belong to; where a domain has one, every CA of a chain
 * in it must have one. The context's own `crl` and `only_verify_leaf_cert_crl` it passes over without a word. What
 * names are accepted is the proxy's own configuration, which it merges with this.
 */
export function spiffeValidationContext(bundles: readonly TrustBundle[]): CertificateValidationContext {
  const trustDomains = bundles
    .filter(({ x509Authorities }) => x509Authorities.length > 0)
    .map(({ trustDomain, x509Authorities, crls }) => ({
      name: trustDomain,
      trustBundle: inline([
        ...x509Authorities.map((der) => encodePem('CERTIFICATE', der)),
        ...crls.map((der) => encodePem('X509 CRL', der)),
      ]),
    }));
  const value = SPIFFECertValidatorConfig.encode({ trustDomains }).finish();
  return {
    trustedCa: undefined,
    matchTypedSubjectAltNames: [],
    crl: undefined,
    onlyVerifyLeafCertCrl: false,
    customValidatorConfig: { name: NAME, typedConfig: { typeUrl: TYPE, value } },
  };
}

function inline(pem: readonly string[]): { specifier: { $case: 'inlineBytes'; value: Uint8Array } } {
  return { specifier: { $case: 'inlineBytes', value: Buffer.from(pem.join(''), 'latin1') } };
}
