// Loads an etcd v3 server and prints what that took, as one line of JSON.
//
//   node load.js '{"addresses": ["HOST:PORT"], "operation": "put", "clients": 16, "seconds": 3, ...}'
//
// A client is a loop that sends its next request when the answer to the last one is there.

import { Connection, field, fieldsOf, message } from './wire.js'

const options = {
  addresses: [],
  operation: 'put',
  clients: 1,
  connections: 8,
  seconds: 3,
  count: 0,
  prefix: '/bench/',
  keys: 10000,
  valueBytes: 1024,
  watchers: 0,
  ...JSON.parse(process.argv[2]),
}
const KV = '/etcdserverpb.KV/'
const VALUE = Buffer.alloc(options.valueBytes, 'v')
const padded = (number) => String(number).padStart(8, '0')

const connections = Array.from(
  { length: Math.min(options.connections, Math.max(options.clients, options.watchers)) },
  (_, i) => new Connection(options.addresses[i % options.addresses.length]),
)

const put = (key, value) => message([1, key], [2, value])
const endOf = (prefix) => prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)

// Each makes a client's next operation; i counts the operations of all clients of this process.
const operations = {
  put: (connection) => (i) => connection.unary(`${KV}Put`, put(options.prefix + padded(i % options.keys), VALUE)),
  // Compare the version of a key of this client's own, and put it.
  txn: (connection, client) => {
    let version = 0
    const key = `${options.prefix}txn-${process.pid}-${client}`
    return async () => {
      const compare = message([3, key], [4, version])
      const answer = await connection.unary(`${KV}Txn`, message([1, compare], [2, message([2, put(key, VALUE)])]))
      if (field(answer, 2) !== 1) throw new Error(`the transaction on ${key} failed`)
      version++
    }
  },
  get: (connection) => async (i) => {
    const answer = await connection.unary(`${KV}Range`, message([1, options.prefix + padded(i % options.keys)]))
    if (field(answer, 2) === undefined) throw new Error('the key is missing')
  },
  page: (connection) => async () => {
    const range = message([1, options.prefix], [2, endOf(options.prefix)], [3, 1000])
    const answer = await connection.unary(`${KV}Range`, range)
    if (answer.length < 1000 * options.valueBytes) throw new Error('keys are missing')
  },
}

// Watches of the prefix; every event is an arrival, with the time its put was sent in front of the value.
async function watch(arrived) {
  const create = message([1, message([1, options.prefix], [2, endOf(options.prefix)])])
  const open = (connection) =>
    new Promise((resolve, reject) => {
      const call = connection.stream('/etcdserverpb.Watch/Watch', (response) => {
        if (field(response, 3) === 1) resolve(call)
        else arrived(response)
      })
      call.done.catch(reject)
      call.send(create)
    })
  return Promise.all(Array.from({ length: options.watchers }, (_, i) => open(connections[i % connections.length])))
}

async function measureWatch(taken) {
  let events = 0
  let expected = 0
  let drained = () => {}
  const calls = await watch((response) => {
    const now = performance.now()
    for (const [number, event] of fieldsOf(response)) {
      if (number !== 11) continue
      events++
      const value = field(field(event, 2), 5)
      taken.push(now - value.readDoubleLE(0))
    }
    if (events === expected) drained()
  })
  const operation = (connection) => (i) => {
    const value = Buffer.from(VALUE)
    value.writeDoubleLE(performance.now())
    return connection.unary(`${KV}Put`, put(options.prefix + padded(i % options.keys), value))
  }
  const puts = await run(operation, [])
  expected = puts * options.watchers
  if (events < expected) await new Promise((resolve) => (drained = resolve))
  for (const call of calls) {
    call.done.catch(() => {})
    call.close()
  }
  return events
}

// run returns how many operations all clients did; their latencies go to `taken`.
async function run(operation, taken) {
  let started = 0
  let finished = 0
  const end = options.count ? Infinity : performance.now() + 1000 * options.seconds
  const client = async (number) => {
    const next = operation(connections[number % connections.length], number)
    while (performance.now() < end && (!options.count || started < options.count)) {
      const begin = performance.now()
      await next(started++)
      taken.push(performance.now() - begin)
      finished++
    }
  }
  await Promise.all(Array.from({ length: options.clients }, (_, number) => client(number)))
  return finished
}

const taken = []
const cpu = process.cpuUsage()
const begin = performance.now()
const done = options.watchers ? await measureWatch(taken) : await run(operations[options.operation], taken)
const seconds = (performance.now() - begin) / 1000
const { user, system } = process.cpuUsage(cpu)
for (const connection of connections) connection.close()
const latencies = Buffer.from(Float32Array.from(taken).buffer).toString('base64')
console.log(JSON.stringify({ operations: done, seconds, cpu_s: (user + system) / 1e6, latencies_ms: latencies }))
