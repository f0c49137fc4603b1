// `directus start` without its update check, in one process or several that share the port.
import cluster from 'node:cluster'

const processes = Number(process.argv[2])
if (cluster.isPrimary && processes > 1) {
  for (let number = 0; number < processes; number += 1) cluster.fork()
} else {
  process.argv[2] = 'start'
  await import('@directus/api/cli/run.js')
}
