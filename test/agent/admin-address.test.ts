import test from 'ava';
import { parseAdminAddress } from '../../src/agent/admin-address.ts';

for (const [text, address] of [
  ['127.0.0.1:9901', { kind: 'tcp', host: '127.0.0.1', port: 9901 }],
  ['localhost:1', { kind: 'tcp', host: '127.0.0.1', port: 1 }],
  ['[::1]:65535', { kind: 'tcp', host: '::1', port: 65_535 }],
  ['/run/envoy/admin.sock', { kind: 'unix', path: '/run/envoy/admin.sock' }],
] as const)
  test(`${text} is where an admin interface may be`, (t) => t.deepEqual(parseAdminAddress(text), address));

for (const text of [
  '',
  '9901',
  '127.0.0.1',
  '127.0.0.1:0',
  '127.0.0.1:65536',
  '127.0.0.2:9901',
  '10.0.0.1:80',
  '169.254.169.254:80',
  '0.0.0.0:9901',
  '[::]:9901',
  '[::ffff:10.0.0.1]:80',
  'example.org:80',
  'localhost.example.org:80',
  'localhost:9901/certs',
  'http://127.0.0.1:9901',
  '127.0.0.1:9901\r\nX: 1',
  'run/envoy/admin.sock',
  '/run/\0admin.sock',
  `/${'x'.repeat(107)}`,
])
  test(`${JSON.stringify(text.slice(0, 30))} is nothing to connect to`, (t) =>
    t.is(parseAdminAddress(text), null));
