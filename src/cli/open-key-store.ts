import { join } from 'node:path';
import { loadKeyEncryptionKey } from '../ca/key-encryption-key.ts';
import { type AllKeys, keyStores } from '../ca/key-store.ts';
import { pkcs11KeyStore } from '../ca/pkcs11-key-store.ts';
import type { TokenOptions } from '../ca/pkcs11-token.ts';
import { sealedKeyStore } from '../ca/sealed-key-store.ts';
import type { ServerConfig } from '../config.ts';
import type { Logger } from '../log.ts';

type KeySettings = Pick<
  ServerConfig,
  | 'dataDir'
  | 'keyEncryptionKeyFile'
  | 'keyStore'
  | 'pkcs11Module'
  | 'pkcs11Token'
  | 'pkcs11Slot'
  | 'pkcs11PinFile'
>;

/**
 * The keys of the authorities, as configured. A token that is away is waited for when it is needed; its loss and
 * its return are logged. Throws `config_invalid`.
 */
export async function openKeyStore(
  config: KeySettings,
  keyEncryptionKeyText: string | undefined,
  log: Logger,
): Promise<AllKeys> {
  const path = config.keyEncryptionKeyFile ?? join(config.dataDir, 'key-encryption-key');
  const sealed = sealedKeyStore(await loadKeyEncryptionKey(path, keyEncryptionKeyText));
  const options = tokenOptions(config, log);
  const token = options === null ? null : pkcs11KeyStore(options);
  return keyStores({
    sealed,
    token,
    newKeys: config.keyStore === 'pkcs11' && token !== null ? token : sealed,
  });
}

function tokenOptions(config: KeySettings, log: Logger): TokenOptions | null {
  const { pkcs11Module: modulePath, pkcs11Token: label, pkcs11Slot: slot, pkcs11PinFile: pinFile } = config;
  if (modulePath === null || pinFile === null) return null;
  return {
    modulePath,
    pinFile,
    token: label === null ? { slot: slot ?? 0 } : { label },
    onChange: (problem) => {
      if (problem === null) log.info("the token with the authorities' keys can be used again");
      else
        log.error(
          { problem },
          "the token with the authorities' keys cannot be used: nothing is issued; what was delivered keeps working",
        );
    },
  };
}
