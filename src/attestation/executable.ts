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

/** Its answer; `failed` is for people. */
export type ExecutableReply = { readonly executable: Executable } | { readonly failed: string };
