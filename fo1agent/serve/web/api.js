// Talks to the server. Every failure is an ApiError with the server's own message; what to do about it others decide.

import { remembered } from "./storage.js";

/** The bearer token of this tab; never stored longer than the tab lives. */
export const token = remembered("sessionStorage", "fo1agent.token");

export class ApiError extends Error {
  /**
   * @param {string} message for people
   * @param {number} status of HTTP; 0 when there was no answer at all
   * @param {number} retryAfter seconds to wait; 0 if the server did not say
   */
  constructor(message, status = 0, retryAfter = 0) {
    super(message);
    this.status = status;
    this.hopeless = [400, 413, 422].includes(status); // what was sent would only be refused again
    this.retryAfter = retryAfter;
  }
}

const UNREACHABLE = "The server cannot be reached. Check the connection, then try again.";
const address = (path) => new URL(path, document.baseURI).href;
const authorization = () => (token.get() ? { Authorization: `Bearer ${token.get()}` } : {});

/**
 * Send a picture's own bytes, so that the server sees what a camera wrote.
 *
 * @param {Blob} file
 * @param {{onProgress: (share: number) => void, signal: AbortSignal}} options `onProgress(1)`: all is sent
 * @returns {Promise<object>} image, width, height, model, regions, note
 */
export function upload(file, { onProgress, signal }) {
  // fetch does not tell how much of a body it has sent.
  const request = new XMLHttpRequest();
  const body = new FormData();
  body.append("file", file, file.name || "photo");
  return new Promise((resolve, reject) => {
    request.open("POST", address("v1/images"));
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.upload.onload = () => onProgress(1);
    request.onerror = () => reject(new ApiError(UNREACHABLE));
    request.onabort = () => reject(new DOMException("Stopped.", "AbortError"));
    request.onload = () => {
      const answer = parsed(request.responseText);
      if (request.status >= 200 && request.status < 300 && answer) resolve(answer);
      else reject(failure(request.status, answer, request.getResponseHeader("Retry-After")));
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/** The upright picture, as a blob: an <img> could not send the token. */
export async function pixels(image, signal) {
  return (await send(`v1/images/${image}/pixels`, { signal })).blob();
}

/** Call a tool; gives its result. */
export async function callTool(name, args, signal) {
  const response = await post(`v1/tools/${name}`, args, signal);
  const told = await response.json();
  if (!told.ok) throw new ApiError(told.error, 422);
  return told.result;
}

/**
 * Ask, and hear of each step as it happens.
 *
 * @param {(type: string, event: object) => void} onEvent opening, plan, step_start, step_end, partial and last answer
 */
export async function ask(image, question, before, onEvent, signal) {
  const response = await post("v1/ask", { image, question, before, stream: true }, signal);
  let last = "";
  for await (const { type, data } of serverEvents(response.body)) {
    const event = parsed(data) ?? {};
    if (type === "error") throw failure(500, event, null);
    last = type;
    onEvent(type, event);
  }
  if (last !== "answer") throw new ApiError("The connection ended before the answer came.");
}

/** The events of a `text/event-stream` body; comments are left out. */
export async function* serverEvents(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read().catch(unreachable);
    if (done) return;
    waiting += decoder.decode(value, { stream: true });
    for (let end; (end = /\r\n\r\n|\n\n|\r\r/.exec(waiting)); ) {
      const event = { type: "message", data: [] };
      for (const line of waiting.slice(0, end.index).split(/\r\n|\n|\r/)) {
        const [, field, text] = /^([^:]*):? ?(.*)$/.exec(line);
        if (field === "event") event.type = text;
        else if (field === "data") event.data.push(text);
      }
      waiting = waiting.slice(end.index + end[0].length);
      if (event.data.length) yield { type: event.type, data: event.data.join("\n") };
    }
  }
}

const post = (path, body, signal) =>
  send(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });

async function send(path, options) {
  const headers = { ...options.headers, ...authorization() };
  const response = await fetch(address(path), { ...options, headers }).catch(unreachable);
  if (response.ok) return response;
  throw failure(response.status, parsed(await response.text()), response.headers.get("Retry-After"));
}

function unreachable(error) {
  throw error.name === "AbortError" ? error : new ApiError(UNREACHABLE);
}

function failure(status, body, retryAfter) {
  const message = body?.error?.message ?? `The server answered with status ${status}.`;
  return new ApiError(message, status, Math.max(0, Number.parseInt(retryAfter ?? "0", 10) || 0));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
