/** The roots that a server's bundle has, PEM. */
export async function fetchRoots(url: string): Promise<string> {
  const response = await fetch(`${url}/v1/bundle`);
  if (!response.ok) throw new Error(`${url}/v1/bundle: ${response.status}`);
  const { keys } = (await response.json()) as { keys: { use: string; x5c?: string[] }[] };
  return keys
    .filter(({ use }) => use === 'x509-svid')
    .map(
      ({ x5c: [der] = [] }) =>
        `-----BEGIN CERTIFICATE-----\n${der?.match(/.{1,64}/g)?.join('\n')}\n-----END CERTIFICATE-----\n`,
    )
    .join('');
}
