// Invoke a function as a dashboard does, once for each call in standard input, and print the outcomes
// that supabase-js reports. A call is {url, key, options, accessToken, name, invoke}.

import { readFileSync } from "node:fs";
import { createClient } from "@supabase/supabase-js";

const calls = JSON.parse(readFileSync(0, "utf8"));
const outcomes = [];
for (const { url, key, options = {}, accessToken, name = "voices-sync", invoke = {} } of calls) {
  if (accessToken) options.accessToken = async () => accessToken;
  // Node 20 has no WebSocket, which createClient requires although functions do not.
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
