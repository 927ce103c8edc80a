// Runs node-pg-migrate on every target of work.json, `parallel` at a time, in one process.
import { readFileSync } from "node:fs";
import { runner } from "node-pg-migrate";

const work = JSON.parse(readFileSync(process.argv[2], "utf8"));
const waiting = [...work.targets];

async function worker() {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    await runner({
      databaseUrl: { host: work.host, port: work.port, user: work.user, database: name, password: process.env.PGPASSWORD },
      dir: `own/${name}`,
      direction: "up",
      count: Infinity,
      migrationsTable: "pgmigrations",
      singleTransaction: false,
      log: () => {},
    });
  }
}

await Promise.all(Array.from({ length: work.parallel }, worker));
