/** What a process runs. */
export interface Executable {
  /** As the kernel names it where the process sees it; printable. Null where we may not look. */
  readonly path: string | null;
  /**
   * Whether that path, as we see files, is the very file that runs. It isn't for a deleted file, nor in
   * another mount namespace or root, where whoever made it (any user can make one) names files as he likes.
   */
  readonly pathIsOurs: boolean;
  /** Of the file's contents, lower-case hex. Null where `problem` says why. */
  readonly sha256: string | null;
  readonly problem: string | null;
}

/** A request to executable-thread.ts. */
export interface ExecutableRequest {
  /** /proc/<pid>/exe. */
  readonly link: string;
}

/** Ours: different executables on a node, with room for a copy of each in many containers. */
const MAX_KNOWN = 4096;

/** Adds to what is known, the oldest use first; beyond the limit that goes. */
export function remember(hashes: Map<string, string>, [identity, sha256]: KnownHash): void {
  hashes.delete(identity);
  hashes.set(identity, sha256);
  const [oldest] = hashes.keys();
  if (hashes.size > MAX_KNOWN && oldest !== undefined) hashes.delete(oldest);
}

/** What a file is known by (device, inode, size and times), and the SHA-256 of its contents, lower-case hex. */
export type KnownHash = readonly [identity: string, sha256: string];

/** Its answer; `failed` is for people. `known` is what the next thread may go by. */
export type ExecutableReply =
  | { readonly executable: Executable; readonly known: KnownHash | null }
  | { readonly failed: string };
