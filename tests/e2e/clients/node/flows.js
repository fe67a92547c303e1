// The flows of the other client tests, through @kubernetes/client-node.
// node flows.js FLOW: the objects come as JSON on stdin; what is not as expected ends it with an error.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const { namespace, group, configMap, pod, definition, gadget } = JSON.parse(readFileSync(0, 'utf8'));
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const as = (strategy) => k8s.setHeaderOptions('Content-Type', strategy);
const text = async (stream, until) => {
  let found = '';
  for await (const chunk of stream) {
    found += chunk;
    if (until && found.includes(until)) break;
  }
  return found;
};

// Watches until an object is as wanted.
const watched = (path, query, holds) =>
  new Promise((resolve, reject) => {
    const watch = new k8s.Watch(config);
    const done = (error) => reject(error ?? new Error('the watch has ended'));
    const controller = watch.watch(path, query, (kind, object) => {
      if (holds(kind, object)) controller.then((one) => (resolve(object), one.abort()));
    }, done);
    controller.catch(reject);
  });
const condition = (type) => (_, object) =>
  object.status?.conditions?.some((one) => one.type === type && one.status === 'True');

const flows = {
  async objects() {
    await core.createNamespacedConfigMap({ namespace, body: configMap });
    await assert.rejects(core.createNamespacedConfigMap({ namespace, body: configMap }), { code: 409 });
    const name = 'settings';
    const change = (body, strategy) => core.patchNamespacedConfigMap({ name, namespace, body }, as(strategy));
    await change({ data: { size: null, color: 'blue' } }, k8s.PatchStrategy.MergePatch);
    await change([{ op: 'add', path: '/data/shape', value: 'round' }], k8s.PatchStrategy.JsonPatch);
    const applied = { ...configMap, data: { color: 'green' } };
    await assert.rejects(
      objects.patch(applied, undefined, undefined, 'other', false, k8s.PatchStrategy.ServerSideApply), { code: 409 });
    const found = await objects.patch(
      applied, undefined, undefined, 'other', true, k8s.PatchStrategy.ServerSideApply);
    assert.deepEqual(found.data, { color: 'green', shape: 'round' });
    await core.deleteNamespacedConfigMap({ name, namespace });
    await assert.rejects(core.readNamespacedConfigMap({ name, namespace }), { code: 404 });
  },

  async streams() {
    await core.createNamespacedPod({ namespace, body: pod });
    await watched(`/api/v1/namespaces/${namespace}/pods`, {}, condition('Ready'));
    assert.equal(await core.readNamespacedPodLog({ name: 'web', namespace }), 'serving\n');
    const log = new PassThrough();
    const following = await new k8s.Log(config).log(namespace, 'web', 'main', log, { follow: true });
    assert.equal(await text(log, '\n'), 'serving\n');
    following.abort();
    const [out, err] = [new PassThrough(), new PassThrough()];
    const script = ['sh', '-c', 'read x; echo got $x; echo bad >&2; exit 3'];
    const status = await new Promise((resolve, reject) => {
      new k8s.Exec(config)
        .exec(namespace, 'web', 'main', script, out, err, Readable.from(['word\n']), false, resolve).catch(reject);
    });
    assert.deepEqual(status.details.causes, [{ reason: 'ExitCode', message: '3' }]);
    assert.deepEqual([out.read()?.toString(), err.read()?.toString()], ['got word\n', 'bad\n']);
    const forward = new k8s.PortForward(config);
    const server = net.createServer((socket) => forward.portForward(namespace, 'web', [8080], socket, null, socket));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const answer = await fetch(`http://127.0.0.1:${server.address().port}/index.html`);
    assert.equal(await text(answer.body.pipeThrough(new TextDecoderStream()), 'hello\n'), 'hello\n');
  },

  async custom() {
    // Its models have names of their own for some members of a schema.
    const { spec, status } = definition.spec.versions[0].schema.openAPIV3Schema.properties;
    spec.properties.color._default = spec.properties.color.default;
    status.x_kubernetes_preserve_unknown_fields = true;
    await objects.create(definition);
    const query = { fieldSelector: `metadata.name=gadgets.${group}` };
    await watched('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', query, condition('Established'));
    assert.deepEqual((await objects.create(gadget)).spec, { size: 1, color: 'red' });
    const bad = { ...gadget, metadata: { name: 'bad', namespace }, spec: { size: 0 } };
    await assert.rejects(objects.create(bad), { code: 422 });
    const custom = config.makeApiClient(k8s.CustomObjectsApi);
    const where = { group, version: 'v1', namespace, plural: 'gadgets' };
    const merge = as(k8s.PatchStrategy.MergePatch);
    const one = { ...where, name: 'one' };
    await custom.patchNamespacedCustomObjectStatus({ ...one, body: { status: { phase: 'Done' } } }, merge);
    const found = await custom.patchNamespacedCustomObject({ ...one, body: { spec: { size: 5 } } }, merge);
    assert.deepEqual([found.spec.size, found.status, found.metadata.generation], [5, { phase: 'Done' }, 2]);
    await objects.delete(gadget);
    assert.deepEqual((await custom.listNamespacedCustomObject(where)).items, []);
  },

  async informer() {
    const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'app=client' });
    const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list, 'app=client');
    const seen = new PassThrough({ objectMode: true });
    for (const kind of ['add', 'update', 'delete']) {
      informer.on(kind, (found) => seen.write([kind, found.metadata.name, found.data?.color]));
    }
    const events = seen[Symbol.asyncIterator]();
    const next = async () => (await events.next()).value;
    await informer.start();
    await core.createNamespacedConfigMap({ namespace, body: configMap });
    assert.deepEqual(await next(), ['add', 'settings', 'red']);
    const change = { name: 'settings', namespace, body: { data: { color: 'blue' } } };
    await core.patchNamespacedConfigMap(change, as(k8s.PatchStrategy.StrategicMergePatch));
    assert.deepEqual(await next(), ['update', 'settings', 'blue']);
    assert.equal(informer.get('settings', namespace).data.color, 'blue');
    await core.deleteNamespacedConfigMap({ name: 'settings', namespace });
    assert.deepEqual(await next(), ['delete', 'settings', 'blue']);
    await informer.stop();
  },
};

await flows[process.argv[2]]();
process.exit(0);
