// testcontainers as a test suite uses it: wait strategies, mapped ports, exec, files in and out, logs. Prints "ok NAME" a line.
import assert from 'node:assert/strict';
import { GenericContainer, Wait } from 'testcontainers';

const ok = (name) => console.log(`ok ${name}`);

const web = await new GenericContainer('busybox')
  .withCommand(['sh', '-c', 'mkdir /www; cp /from-the-test /www/index.html; echo ready to serve; exec httpd -f -p 80 -h /www'])
  .withCopyContentToContainer([{ content: 'served by a test', target: '/from-the-test' }])
  .withEnvironment({ A: 'b' })
  .withLabels({ suite: 'sdk' })
  .withTmpFs({ '/scratch': 'rw,size=1m' })
  .withExposedPorts(80)
  .withWaitStrategy(Wait.forAll([Wait.forLogMessage('ready to serve'), Wait.forListeningPorts()]))
  .start();
ok('start and wait');

const answer = await fetch(`http://${web.getHost()}:${web.getMappedPort(80)}/`);
assert.equal(await answer.text(), 'served by a test');
ok('mapped port');

const { output, exitCode } = await web.exec(['sh', '-c', 'echo $A; exit 4']);
assert.equal(output.trim(), 'b');
assert.equal(exitCode, 4);
ok('exec');

await web.copyContentToContainer([{ content: 'later', target: '/later' }]);
assert.equal((await web.exec(['cat', '/later'])).output, 'later');
const archive = await web.copyArchiveFromContainer('/later');
let bytes = '';
for await (const piece of archive) bytes += piece;
assert.match(bytes, /later/);
ok('files');

const logs = await web.logs();
let said = '';
const alive = setTimeout(() => assert.fail(`no such line after 30 s, but ${JSON.stringify(said)}`), 30000); // its socket is unref()ed
await new Promise((resolve, reject) => {
  logs.on('data', (piece) => (said += piece).includes('ready to serve') && resolve());
  logs.on('error', reject);
  logs.on('end', () => reject(new Error(`the log ended after ${JSON.stringify(said)}`)));
});
clearTimeout(alive);
ok('logs');

await web.restart({ timeout: 0 });
ok('restart');

const healthy = await new GenericContainer('busybox')
  .withCommand(['sleep', '1000'])
  .withHealthCheck({ test: ['CMD-SHELL', 'true'], interval: 200, timeout: 1000, retries: 5, startPeriod: 0 })
  .withWaitStrategy(Wait.forHealthCheck())
  .start();
ok('health check');

await healthy.stop();
await web.stop();
ok('stop');
