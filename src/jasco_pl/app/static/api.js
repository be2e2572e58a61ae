// The server's API: answers as data, refusals as errors whose message is a sentence.
export async function call(path, { method = "GET", json, body } = {}) {
  const options = { method, credentials: "same-origin" };
  if (json !== undefined) {
    options.body = JSON.stringify(json);
    options.headers = { "Content-Type": "application/json" };
  } else if (body !== undefined) options.body = body;
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; it may have been stopped.");
  }
  if (!answer.ok) {
    let sentence = `the server answered ${answer.status}.`;
    try { sentence = (await answer.json()).error || sentence; } catch { /* no JSON: the number has to do */ }
    const error = new Error(sentence);
    error.status = answer.status;
    throw error;
  }
  if (answer.status === 204) return null;
  return (answer.headers.get("Content-Type") || "").includes("json") ? answer.json() : answer.blob();
}

export const upload = (file, name) => call(`/api/uploads?name=${encodeURIComponent(name)}`, { method: "POST", body: file });
