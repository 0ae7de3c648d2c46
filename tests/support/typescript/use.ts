// Use the types that openapi-typescript makes of the description, as a front end does, and print what came.

import createClient from "openapi-fetch";
import type { components, paths } from "./made/api.js";

declare const process: { argv: string[] };
const [baseUrl, token, apikey] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

const found = await client.GET("/api/voices/", {
  params: { query: { search: "emilie", ownership: ["public", "private"], ordering: "-name", page_size: 1 } },
});
const voice: components["schemas"]["Voice"] | undefined = found.data?.results[0];
const one = await client.GET("/api/voices/{voice_id}/", { params: { path: { voice_id: voice?.id ?? "" } } });
const runs = await client.GET("/api/sync-runs/");
const synced = await client.POST("/api/voices/sync/");
const refused = await client.GET("/api/voices/", { headers: { Authorization: "Bearer x" } });
const service = await createClient<paths>({ baseUrl, headers: { apikey } }).GET("/functions/v1/voices-list/");

console.log(JSON.stringify({
  found: found.data?.count,
  name: voice?.name,
  language: found.data?.facets.primary_language[0]?.label,
  lastSync: found.data?.last_sync?.synced,
  definition: one.data?.definition,
  runs: runs.data?.results.map((run) => run.status),
  synced: synced.data?.stats.synced,
  refused: refused.error?.code,
  service: service.data?.count,
}));
