// Invoke a function as a dashboard does, once for each way that standard input lists, and print
// what supabase-js made of the answers. A way is {url, key, options, name, invoke}.

import { readFileSync } from "node:fs";
import { createClient } from "@supabase/supabase-js";

const ways = JSON.parse(readFileSync(0, "utf8"));
const outcomes = [];
for (const { url, key, options = {}, accessToken, name = "voices-sync", invoke = {} } of ways) {
  if (accessToken) options.accessToken = async () => accessToken;
  // Node 20 has no WebSocket, which createClient asks for though functions need none.
  options.realtime = { transport: globalThis.WebSocket ?? class {} };
  const client = createClient(url, key, options);
  const { data, error } = await client.functions.invoke(name, invoke);
  outcomes.push({
    data,
    error: error && {
      name: error.name,
      status: error.context?.status,
      challenge: error.context?.headers?.get("www-authenticate"),
      body: await error.context?.json(),
    },
  });
}
console.log(JSON.stringify(outcomes));
