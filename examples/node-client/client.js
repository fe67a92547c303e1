// Lists Pods, watches them, and creates a ConfigMap, over mutual TLS.
//
//   node client.js --address HOST:PORT --ca FILE --cert FILE --key FILE [--namespace NS] [--watch-seconds N]
//
// Everything it knows of Navarch is in protos/. An object travels as google.protobuf.Any: the end of its type URL
// names the message, and the loaded contracts decode it.

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import grpc from '@grpc/grpc-js'
import protoLoader from '@grpc/proto-loader'

const PROTOS = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'protos')
const TYPE_URL = 'type.googleapis.com/'

const { values: options } = parseArgs({
  options: {
    address: { type: 'string' },
    ca: { type: 'string' },
    cert: { type: 'string' },
    key: { type: 'string' },
    namespace: { type: 'string', default: 'default' },
    'watch-seconds': { type: 'string', default: '5' },
  },
})

const contracts = protoLoader.loadSync(['navarch/objects.proto', 'k8s/core/v1.proto', 'k8s/meta/v1.proto'], {
  includeDirs: [PROTOS],
  longs: Number,
  enums: String,
})

// The loader gives each message a serializer and a deserializer; Any needs them by name. (The loader brings its own
// definition of Any, whose fields keep their names in the contract.)
const pack = (name, object) => ({
  type_url: TYPE_URL + name,
  value: contracts[name].serialize(object),
})
const unpack = (any) => {
  const name = any.type_url.slice(any.type_url.lastIndexOf('/') + 1)
  return contracts[name].deserialize(any.value)
}

const { Objects } = grpc.loadPackageDefinition(contracts).navarch.v1
const client = new Objects(
  options.address,
  grpc.credentials.createSsl(readFileSync(options.ca), readFileSync(options.key), readFileSync(options.cert)),
)
const call = (method, request) =>
  new Promise((resolve, reject) => {
    client[method](request, (error, response) => (error ? reject(error) : resolve(response)))
  })
const print = (line) => console.log(JSON.stringify(line))

const pods = { group: '', version: 'v1', resource: 'pods' }
const configMaps = { group: '', version: 'v1', resource: 'configmaps' }

const list = await call('List', { resource: pods, namespace: options.namespace })
print({ step: 'listed', pods: list.items.map((item) => unpack(item).metadata.name), resourceVersion: list.resourceVersion })

const watch = client.Watch({
  resource: pods,
  namespace: options.namespace,
  resourceVersion: list.resourceVersion,
  timeoutSeconds: Number(options['watch-seconds']),
})
const watched = new Promise((resolve, reject) => {
  watch.on('data', ({ events }) => {
    for (const event of events) {
      const pod = unpack(event.object)
      print({ step: 'event', type: event.type, pod: pod.metadata.name, phase: pod.status?.phase })
    }
  })
  watch.on('end', resolve)
  watch.on('error', (error) => (error.code === grpc.status.CANCELLED ? resolve() : reject(error)))
})

const created = await call('Create', {
  resource: configMaps,
  namespace: options.namespace,
  object: pack('k8s.io.api.core.v1.ConfigMap', {
    metadata: { generateName: 'from-node-' },
    data: { greeting: 'hello from Node.js' },
  }),
})
const configMap = unpack(created.object)
print({ step: 'created', configMap: configMap.metadata.name, uid: configMap.metadata.uid, data: configMap.data })

// What the server refuses comes as a gRPC status.
await call('Get', { resource: configMaps, namespace: options.namespace, name: 'nobody' }).catch((error) =>
  print({ step: 'refused', code: grpc.status[error.code], message: error.details }),
)

await watched
client.close()
