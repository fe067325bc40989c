/** A container's ID that no other number has. */
export function containerId(number: number): string {
  return number.toString(16).padStart(64, 'c');
}

export function podUid(number: number): string {
  return `8a4f7d9c-2c1b-4c57-9d5e-${number.toString(16).padStart(12, '0')}`;
}

export interface PodWish {
  readonly number: number;
  readonly labels?: Record<string, string>;
  readonly containerId?: string;
  readonly annotations?: Record<string, string>;
}

/** A pod as kubelet 1.35 tells of it on containerd: the fields that matter, among some that don't. */
export function podObject({ number, labels = { app: 'web' }, annotations, containerId: id }: PodWish) {
  return {
    metadata: {
      name: `web-${number}`,
      namespace: 'shop',
      uid: podUid(number),
      resourceVersion: '7',
      labels,
      ...(annotations && { annotations }),
    },
    spec: {
      nodeName: 'node-1',
      serviceAccountName: 'web',
      containers: [{ name: 'app', image: 'nginx:1.29' }],
    },
    status: {
      phase: 'Running',
      containerStatuses: [
        {
          name: 'app',
          ready: true,
          image: 'docker.io/library/nginx:1.29',
          imageID: `docker.io/library/nginx@sha256:${'ab'.repeat(32)}`,
          containerID: `containerd://${id ?? containerId(number)}`,
        },
        { name: 'waiting', ready: false, image: 'busybox', imageID: '', state: { waiting: {} } },
      ],
    },
  };
}
