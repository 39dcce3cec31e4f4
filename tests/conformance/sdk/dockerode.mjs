// dockerode as its users use it. DOCKER_HOST names the engine; an image "busybox" is there. Prints "ok NAME" a line.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import Docker from 'dockerode';

const docker = new Docker();
const ok = (name) => console.log(`ok ${name}`);
const collect = (stream) => {
  let text = '';
  stream.on('data', (piece) => { text += piece; });
  return () => text;
};
const ended = (stream) => new Promise((resolve, reject) => stream.on('end', resolve).on('close', resolve).on('error', reject));

assert.equal(String(await docker.ping()), 'OK');
assert.ok((await docker.version()).ApiVersion);
assert.equal((await docker.info()).OSType, 'linux');
ok('system');

// run: create, attach, start, wait, remove in one call
const out = new PassThrough();
const said = collect(out);
const [result, ran] = await docker.run('busybox', ['sh', '-c', 'echo $GREETING; exit 3'], out, { Env: ['GREETING=hello'] });
assert.equal(result.StatusCode, 3);
assert.match(said(), /hello/);
await ran.remove();
ok('run');

// an interactive attach: standard input, demultiplexed output
const cat = await docker.createContainer({ Image: 'busybox', Cmd: ['sh', '-c', 'cat; echo err >&2'], OpenStdin: true, StdinOnce: true });
const attached = await cat.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
const stdout = new PassThrough();
const stderr = new PassThrough();
const [outText, errText] = [collect(stdout), collect(stderr)];
docker.modem.demuxStream(attached, stdout, stderr);
await cat.start();
attached.write('typed\n');
attached.end();
await ended(attached);
await cat.wait();
assert.equal(outText(), 'typed\n');
assert.equal(errText(), 'err\n');
await cat.remove();
ok('attach');

const sleeper = await docker.createContainer({
  Image: 'busybox', name: 'sdk-sleeper', Cmd: ['sh', '-c', 'i=0; while :; do echo line $i; i=$((i+1)); sleep 0.1; done'],
  Labels: { sdk: 'dockerode' }, ExposedPorts: { '80/tcp': {} },
  HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '0' }] }, Memory: 64 << 20, RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 1 } },
});
await sleeper.start();
const shown = await sleeper.inspect();
assert.ok(shown.State.Running && Number(shown.NetworkSettings.Ports['80/tcp'][0].HostPort) > 0);
const listed = await docker.listContainers({ filters: { label: ['sdk=dockerode'] } });
assert.deepEqual(listed.map((c) => c.Names[0]), ['/sdk-sleeper']);
ok('inspect and list');

const exec = await sleeper.exec({ Cmd: ['sh', '-c', 'cat; exit 5'], AttachStdin: true, AttachStdout: true });
const session = await exec.start({ hijack: true, stdin: true });
const executed = new PassThrough();
const execText = collect(executed);
docker.modem.demuxStream(session, executed, executed);
session.write('through exec');
session.end();
await ended(session);
assert.equal(execText(), 'through exec');
assert.equal((await exec.inspect()).ExitCode, 5);
ok('exec');

const logs = await sleeper.logs({ follow: true, stdout: true, stderr: true, tail: 2 });
await new Promise((resolve) => logs.once('data', resolve));
logs.destroy();
assert.match(String(await sleeper.logs({ stdout: true })), /line 0/);
ok('logs');

const stats = await sleeper.stats({ stream: false });
assert.ok(stats.memory_stats.usage > 0 && stats.cpu_stats.cpu_usage.total_usage > 0);
ok('stats');

// a minimal tar: one file of five bytes
const tar = Buffer.alloc(2048);
tar.write('put-here', 0);
tar.write('0000644\0', 100);
tar.write('0000000\0', 108);
tar.write('0000000\0', 116);
tar.write('00000000005\0', 124);
tar.write('00000000000\0', 136);
tar.write('        ', 148);
tar.write('0', 156);
tar.write('ustar\x0000', 257);
const sum = tar.subarray(0, 512).reduce((a, b) => a + b, 0);
tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
tar.write('bytes', 512);
await sleeper.putArchive(tar, { path: '/tmp' });
const back = await sleeper.getArchive({ path: '/tmp/put-here' });
const backText = collect(back);
await ended(back);
assert.match(backText(), /bytes/);
assert.ok((await sleeper.changes()).some((c) => c.Path === '/tmp/put-here'));
ok('archive');

await sleeper.update({ Memory: 128 << 20, MemorySwap: 256 << 20 });
assert.equal((await sleeper.inspect()).HostConfig.Memory, 128 << 20);
await sleeper.pause();
await sleeper.unpause();
await sleeper.rename({ name: 'sdk-renamed' });
ok('update, pause, rename');

const events = await docker.getEvents({ filters: { container: [sleeper.id] } });
const eventText = collect(events);
await sleeper.stop({ t: 0 });
await sleeper.remove({ v: true });
for (let i = 0; i < 100 && !eventText().includes('"destroy"'); i++) await new Promise((resolve) => setTimeout(resolve, 50));
events.destroy();
for (const action of ['kill', 'die', 'stop', 'destroy']) assert.ok(eventText().includes(`"${action}"`), action);
ok('events');

const volume = await docker.createVolume({ Name: 'sdk-volume', Labels: { a: 'b' } });
assert.ok((await docker.listVolumes()).Volumes.some((v) => v.Name === 'sdk-volume'));
await volume.remove();
ok('volumes');

await docker.getImage('busybox').tag({ repo: 'sdk-tagged', tag: '1' });
assert.ok((await docker.listImages()).some((i) => i.RepoTags?.includes('sdk-tagged:1')));
await docker.getImage('sdk-tagged:1').remove();
ok('images');

await assert.rejects(docker.getContainer('nobody').inspect(), (error) => error.statusCode === 404 && /No such container/.test(error.message));
ok('errors');
