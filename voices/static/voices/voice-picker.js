// @ts-check
/**
 * `<voice-picker>`: find a voice, hear it, choose it; and `<voice-play>`, its button that plays a voice.
 *
 * A client of the API of the service that this file came from, or that `src` names: docs/embedding.md.
 */

/** @import { Choice, Facet, LastSync, Listing, Token, Voice } from "./types" */

/**
 * Make an element with properties and children.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} [properties]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, properties = {}, ...children) {
	const made = document.createElement(tag);
	Object.assign(made, properties);
	made.append(...children);
	return made;
}

/** @param {Element} on @param {string} name @param {unknown} value  None removes the attribute. */
function set(on, name, value) {
	if (value) on.setAttribute(name, String(value));
	else on.removeAttribute(name);
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = /** @type {const} */ ([["day", 86400], ["hour", 3600], ["minute", 60]]); // in seconds

/**
 * Say how long ago a time was.
 *
 * @param {string} time  In ISO 8601.
 */
export function ago(time) {
	const seconds = (Date.now() - Date.parse(time)) / 1000;
	for (const [unit, length] of UNITS) {
		if (seconds >= length) return relative.format(-Math.floor(seconds / length), unit);
	}
	return "just now";
}

/** An error of the API, with its `code`, or `unreachable`. */
export class ApiError extends Error {
	/** @param {string} code @param {string} message  A sentence for a person. */
	constructor(code, message) {
		super(message);
		this.code = code;
	}

	/** Whether its reader has to sign in. */
	get isSignedOut() {
		return ["not_authenticated", "invalid_token"].includes(this.code);
	}
}

const away = () => new ApiError("unreachable", "The voice service does not answer. Try again in a moment.");

/**
 * Make a link to a login that leads back here.
 *
 * @param {string} login  Its address.
 */
export function signIn(login) {
	const url = new URL(login, location.href);
	url.searchParams.set("next", location.pathname + location.search + location.hash);
	return element("a", { href: url.href }, "Sign in again");
}

/**
 * Return what an answer's JSON holds.
 *
 * @param {Response} response
 * @throws {ApiError}  If it is an error, or no JSON.
 */
async function content(response) {
	const body = await response.json().catch(() => null);
	if (response.ok && body) return body;
	if (response.ok) throw away(); // half of it
	const message = body?.message ?? `The voice service answered with status ${response.status}. Try again later.`;
	throw new ApiError(body?.code ?? "internal_error", message);
}

const ORIGIN = new URL(import.meta.url).origin; // of the service that this file came from

/** The API, for a user with a session or a token. */
export class Client {
	base = ORIGIN;
	/** @type {(() => Token | Promise<Token>) | null} */
	accessToken = null;

	/**
	 * Ask for an address of the API; once more, with another token, where one is refused.
	 *
	 * @param {string} path
	 * @param {RequestInit} [options]
	 * @throws {ApiError}
	 */
	async ask(path, options = {}) {
		try {
			return await this.#send(path, options);
		} catch (error) {
			if (!(this.accessToken && error instanceof ApiError && error.isSignedOut)) throw error;
			return this.#send(path, options);
		}
	}

	/** @param {string} path @param {RequestInit} options */
	async #send(path, options) {
		const headers = new Headers(options.headers);
		/** @type {Token} */
		let token;
		try {
			token = await this.accessToken?.();
		} catch {
			throw new ApiError("not_authenticated", "You are signed out: sign in again.");
		}
		if (token) headers.set("Authorization", `Bearer ${token}`);
		let response;
		try {
			response = await fetch(this.base + path, { ...options, headers });
		} catch (error) {
			if (options.signal?.aborted) throw error;
			throw away();
		}
		return content(response);
	}
}

/** @param {string} css */
function styles(css) {
	const sheet = new CSSStyleSheet();
	sheet.replaceSync(css);
	return sheet;
}

/** Light and dark, each with a custom property of its own. */
const COLORS = Object.entries({
	accent: "#0b5cd5, #7ab0ff", text: "#1b1d21, #eceef1", muted: "#5b6069, #a3a9b3", line: "#dfe1e5, #363a42",
	control: "#868c96, #767d89", surface: "#fff, #1d2025", chosen: "#eaf2ff, #212d3e", danger: "#b3261e, #ff9d94",
	warning: "#7d4e00, #efb75c",
}).map(([name, pair]) => `--${name}: var(--voice-picker-${name}, light-dark(${pair}));`).join("");

// <voice-play>

const PLAY = "M5 3v10l8-5z";
const STOP = "M4 4h8v8H4z";
const FAILED = "M7 3h2v6H7zM7 11h2v2H7z";
const PLAY_STYLES = styles(`
	:host { display: inline-block; ${COLORS} }
	:host([hidden]) { display: none; }
	button {
		box-sizing: border-box; width: 40px; height: 40px; padding: 11px; border: 1px solid var(--control);
		border-radius: 50%; color: var(--accent); background: var(--surface); cursor: pointer; position: relative;
		scroll-margin-block: 4rem 7rem;
	}
	button:hover { border-color: var(--accent); }
	button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
	button[aria-disabled] { color: var(--muted); border-style: dashed; cursor: default; }
	svg { display: block; fill: currentColor; }
	:host([state=failed]) button { color: var(--danger); border-color: currentColor; }
	:host([state=loading]) button::after, :host([state=playing]) button::after {
		content: ""; position: absolute; inset: -1px; border-radius: 50%;
		background: conic-gradient(var(--accent) var(--heard, 25%), var(--line) 0);
		mask: radial-gradient(closest-side, #0000 calc(100% - 4px), #000 calc(100% - 3px));
	}
	:host([state=loading]) button::after { animation: turn 1s linear infinite; }
	@keyframes turn { to { rotate: 1turn; } }
	@media (prefers-reduced-motion: reduce) { :host([state=loading]) button::after { animation-duration: 8s; } }
`);

const audio = new Audio(); // one for all buttons: one voice at a time
/** @type {VoicePlay | null} */
let current = null;
audio.addEventListener("playing", () => current?.started());
audio.addEventListener("timeupdate", () => current?.progressed());
audio.addEventListener("ended", () => current?.end("", true));
audio.addEventListener("error", () => current?.failed());

/**
 * A button that plays the preview at `src` of the voice called `name`, and stops it; without `src`, says that there is
 * none. It shows what fails unless somebody cancels its `voice-error`.
 */
export class VoicePlay extends HTMLElement {
	static observedAttributes = ["name", "src", "state"];
	#button = element("button", { type: "button", part: "button" });
	#note = element("small", { role: "alert", part: "note" });
	/** @type {(ended: boolean) => void} */
	#done = () => {};
	/** @type {(() => Promise<string | null>) | null} Gives another `src` where a link has expired. */
	renew = null;
	/** @type {Voice | null} for its owner */
	voice = null;

	constructor() {
		super();
		const root = this.attachShadow({ mode: "open", delegatesFocus: true });
		root.adoptedStyleSheets = [PLAY_STYLES];
		this.#button.innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path></path></svg>`;
		this.#button.addEventListener("click", () => (current === this ? this.stop() : this.play()));
		root.append(this.#button, this.#note);
	}

	attributeChangedCallback() {
		const state = this.getAttribute("state");
		const isActive = state === "loading" || state === "playing";
		this.#button.ariaLabel = `${isActive ? "Stop" : "Play"} ${this.getAttribute("name") ?? ""}`;
		this.#button.ariaDisabled = this.hasAttribute("src") ? null : "true";
		this.#button.title = this.hasAttribute("src") ? "" : "No preview";
		const shape = isActive ? STOP : state === "failed" ? FAILED : PLAY;
		this.#button.querySelector("path")?.setAttribute("d", shape);
	}

	disconnectedCallback() {
		this.stop();
	}

	/** Play from the beginning, and return whether it was heard to its end. */
	async play() {
		current?.stop();
		const source = this.getAttribute("src");
		if (!source) {
			this.#report(new ApiError("no_preview", "This voice has no preview to hear."));
			return false;
		}
		current = this;
		this.shadowRoot?.append(audio);
		this.#state("loading");
		this.#note.textContent = "";
		this.style.removeProperty("--heard");
		return new Promise((resolve) => {
			this.#done = resolve;
			this.#start(source);
		});
	}

	stop() {
		if (current === this) this.end("", false);
	}

	/** @param {string} source */
	#start(source) {
		audio.src = source;
		audio.play().catch((error) => {
			if (error.name === "NotAllowedError" && current === this) {
				this.#report(new ApiError("not_allowed", "The browser did not allow the sound: press play once more."));
			}
			// Any other is an `error` event, too, or the end of this play.
		});
	}

	started() {
		if (this.getAttribute("state") === "playing") return; // it had stalled
		this.#state("playing");
		this.dispatchEvent(new CustomEvent("voice-play", { bubbles: true, composed: true }));
	}

	progressed() {
		if (audio.duration) this.style.setProperty("--heard", `${(100 * audio.currentTime) / audio.duration}%`);
	}

	/** Say why it does not play, which only the API knows; a link that has expired is renewed, once. */
	async failed() {
		const source = audio.src;
		const error = await reason(source);
		if (current !== this || audio.src !== source) return;
		if (error.isSignedOut && this.renew) {
			const renewed = await this.renew().catch(() => null);
			if (current !== this) return;
			if (renewed && renewed !== source) {
				this.setAttribute("src", renewed);
				this.#start(renewed);
				return;
			}
		}
		this.#report(error);
	}

	/** @param {ApiError} error */
	#report(error) {
		this.end("failed", false);
		const options = { bubbles: true, composed: true, cancelable: true, detail: error };
		if (this.dispatchEvent(new CustomEvent("voice-error", options))) this.#note.textContent = error.message;
	}

	/** @param {string} state @param {boolean} ended */
	end(state, ended) {
		if (current === this) {
			current = null;
			audio.pause();
			audio.removeAttribute("src");
			audio.load();
			audio.remove();
		}
		this.#state(state);
		this.#done(ended);
	}

	/** @param {string} state */
	#state(state) {
		set(this, "state", state);
	}
}

/**
 * Ask for a preview that did not play; what the service answered it keeps for a minute, so this costs nothing.
 *
 * @param {string} source
 * @returns {Promise<ApiError>}
 */
async function reason(source) {
	try {
		const response = await fetch(source, { redirect: "manual" });
		if (response.type === "opaqueredirect") {
			return new ApiError("preview_unavailable", "This preview, which is kept elsewhere, could not be loaded.");
		}
		if (response.ok) {
			response.body?.cancel();
			return new ApiError("preview_unavailable", "This browser cannot play this preview.");
		}
		return await content(response);
	} catch (error) {
		if (error instanceof ApiError) return error;
		return away();
	}
}

// <voice-picker>

/** Attributes that filter, as they are called on the screen. */
const LEGENDS = new Map([
	["language", "Language"], ["provider", "Provider"], ["billing-style", "Cost"], ["ownership", "Whose"],
	["listed", "Listing"],
]);
const FILTERS = [...LEGENDS.keys()];
const PRESETS = ["search", ...FILTERS, "ordering"]; // the last is no filter
const SHOWN = 7; // choices of a filter, unless more are asked for
const SHORTLIST = 4; // voices
const TYPING = 150; // milliseconds
const KEPT = 10; // pages that are listed anew together
const STAR = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 1.5l2 4.2 4.6.6-3.4 3.2.9 4.6L8 11.8
	3.9 14.1l.9-4.6L1.4 6.3 6 5.7z"/></svg>`;
const languageNames = new Intl.DisplayNames(["en"], { type: "language", fallback: "none" });

/** @param {string} tag  Of BCP 47. */
const languageOf = (tag) => tag.split("-")[0]?.toLowerCase() || tag; // "-" is for none

/** @param {string} language */
function nameOf(language) {
	try {
		return languageNames.of(language);
	} catch {
		return undefined; // whatever else Ultravox calls a language
	}
}

/** @param {Voice} voice */
const called = (voice) => voice.name || voice.id;

/** @param {string} name  Of an API's parameter, or an attribute. */
const parameterOf = (name) => name.replace("-", "_");

/**
 * Write a filter's values as an attribute.
 *
 * @param {string[]} values
 */
const joined = (values) => values.map((value) => value.replaceAll(",", "%2C")).join(",");

const STYLES = styles(`
	:host {
		display: block; container-type: inline-size; contain-intrinsic-inline-size: min(60rem, 80vw); min-width: 0;
		max-width: 100%; color: var(--text); line-height: 1.4; ${COLORS} --radius: var(--voice-picker-radius, 8px);
	}
	:host([hidden]) { display: none; }
	:host(:disabled) { opacity: .6; }
	* { box-sizing: border-box; }
	[hidden] { display: none !important; }
	button, input, select { font: inherit; color: inherit; }
	:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
	.find { display: flex; gap: 10px; flex-wrap: wrap; }
	input[type=search] { flex: 1 1 14rem; min-width: 0; }
	input[type=search], select, .plain {
		padding: 9px 14px; border: 1px solid var(--control); border-radius: var(--radius); background: var(--surface);
	}
	select { max-width: 100%; }
	.plain { cursor: pointer; }
	.plain:hover { border-color: var(--accent); }
	.link { padding: 4px 0; border: 0; background: none; color: var(--accent); cursor: pointer; text-align: start; }
	a, .link:hover { color: var(--accent); text-decoration: underline; }
	.columns { display: grid; grid-template-columns: 13.5rem minmax(0, 1fr); gap: 28px; margin-top: 20px; }
	.columns:focus, .end:focus { outline: 0; }
	.toggle { display: none; }
	fieldset { border: 0; margin: 0 0 18px; padding: 0; min-width: 0; }
	legend {
		padding: 0 0 4px; color: var(--muted); font-size: .78em; font-weight: 700; letter-spacing: .05em;
		text-transform: uppercase;
	}
	.choice { display: flex; gap: 8px; align-items: baseline; padding: 4px 0; cursor: pointer; }
	.choice.region { padding-inline-start: 1.2em; }
	.choice span { flex: 1; min-width: 0; overflow-wrap: anywhere; }
	.choice input, input[type=radio] { accent-color: var(--accent); margin: 0; flex: none; }
	small { color: var(--muted); font-size: .875em; }
	.head { display: flex; flex-wrap: wrap; gap: 0 8px; align-items: baseline; min-height: 2em; }
	.head .link, .turn { margin-inline-start: auto; }
	.chosen { margin: 0 0 8px; overflow-wrap: anywhere; }
	ul { list-style: none; margin: 0; padding: 0; border: 1px solid var(--line); border-radius: var(--radius); overflow: clip; }
	ul:empty { border: 0; }
	ul[aria-busy=true] { opacity: .55; }
	li {
		position: relative; display: grid; grid-template-columns: auto auto minmax(0, 1fr) 15rem auto; gap: 4px 14px;
		align-items: center; padding: 12px 16px; background: var(--surface);
		content-visibility: auto; contain-intrinsic-block-size: auto 66px;
	}
	li :is(button, input) { scroll-margin-block: 4rem 7rem; } /* the shortlist's bar */
	li + li { border-top: 1px solid var(--line); }
	li:has(:checked) { background: var(--chosen); }
	input[type=radio] { width: 18px; height: 18px; }
	.what, .where { min-width: 0; overflow-wrap: anywhere; }
	.head p, .note, .what > *, .where > * { margin: 0; }
	.name { font-weight: 600; cursor: pointer; }
	.name::after { content: ""; position: absolute; inset: 0; }
	li input, li voice-play, .actions, .note { position: relative; z-index: 1; }
	.title { display: flow-root; }
	.badge {
		display: inline-block; padding: 0 8px; border: 1px solid var(--control); border-radius: 1em; color: var(--muted);
		font-size: .78em; margin-inline-start: 6px;
	}
	.badge.unlisted { color: var(--warning); border-color: currentColor; }
	.description, .where small { color: var(--muted); font-size: .92em; }
	.description { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 1; overflow: hidden; }
	li:has(:checked) .description { -webkit-line-clamp: none; }
	.note { flex-basis: 100%; color: var(--danger); font-size: .92em; }
	.note.calm { color: var(--muted); }
	.where { font-size: .92em; }
	.where small { display: block; }
	.actions { display: flex; gap: 6px; }
	.actions button {
		min-width: 32px; height: 32px; padding: 0 6px; border: 1px solid transparent; border-radius: 6px; background: none;
		color: var(--muted); font-size: .8em; cursor: pointer;
	}
	.actions button:hover { color: var(--accent); border-color: currentColor; }
	.actions .copy { border-color: var(--line); }
	svg { width: 18px; height: 18px; fill: none; stroke: currentColor; display: block; margin: auto; }
	[aria-pressed=true] svg { fill: var(--accent); stroke: var(--accent); }
	.problem { padding: 36px 16px; text-align: center; border: 1px dashed var(--control); border-radius: var(--radius); }
	.problem h2 { margin: 0 0 6px; font-size: 1.1em; }
	.problem p { margin: 0 auto 14px; max-width: 34rem; color: var(--muted); overflow-wrap: anywhere; }
	.more { display: block; margin: 14px auto; }
	.shortlist {
		position: sticky; bottom: 0; z-index: 2; display: flex; flex-wrap: wrap; gap: 8px; align-items: center;
		margin-top: 16px; padding: 10px 0; background: var(--voice-picker-bar, Canvas); border-top: 1px solid var(--line);
	}
	.shortlist .plain { padding: 5px 12px; }
	.chips { display: flex; flex-wrap: wrap; gap: 8px; min-width: 0; }
	.chip { display: inline-flex; max-width: 15rem; border: 1px solid var(--control); border-radius: 2em; overflow: clip; }
	.chip button { border: 0; background: var(--surface); cursor: pointer; padding: 4px 10px; min-width: 28px; }
	.chip button:first-child { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
	.chip button:focus-visible { outline-offset: -2px; }
	.chip[aria-current] { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
	.unseen, .skip:not(:focus) { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
	@container (max-width: 52rem) {
		li { grid-template-columns: auto auto minmax(0, 1fr) auto; }
		.where { grid-column: 3; grid-row: 2; }
		.description { -webkit-line-clamp: 3; }
	}
	@container (max-width: 44rem) {
		.columns { grid-template-columns: minmax(0, 1fr); gap: 8px; margin-top: 10px; }
		.toggle { display: block; }
		.filters { columns: 13rem; }
		.filters:not(.open) { display: none; }
		fieldset { break-inside: avoid; }
		.shortlist strong { display: none; }
		.chips { flex: 1 0 100%; flex-wrap: nowrap; overflow-x: auto; }
		.chip { flex: none; max-width: 9rem; }
	}
	@container (max-width: 26rem) {
		li { grid-template-columns: auto minmax(0, 1fr) auto; padding: 12px; }
		.what, .where { grid-column: 2 / 4; }
		.where { grid-row: auto; }
		input[type=radio] { grid-row: 1; }
		li voice-play { grid-column: 2; }
		.actions { grid-row: 1; grid-column: 3; }
	}
`);

const SKELETON = `
	<div class="find" role="search">
		<input type="search" part="search" aria-label="Search voices" maxlength="1000" autocomplete="off"
			spellcheck="false" placeholder="Name, language, provider or description">
		<select part="order" aria-label="Order">
			<option value="">By name</option>
			<option value="-name">By name, backwards</option>
			<option value="primary_language">By language</option>
			<option value="provider">By provider</option>
			<option value="-last_synced_at">Newest first</option>
		</select>
		<button class="toggle plain" type="button" aria-expanded="false" aria-controls="filters">Filters</button>
	</div>
	<div class="columns" tabindex="-1">
		<div>
			<div class="filters" id="filters" part="filters" role="group" aria-label="Filters"></div>
			<slot name="aside"></slot>
		</div>
		<div>
			<div class="head">
				<p part="status"><strong role="status">Loading voices…</strong> <small class="synced"></small></p>
				<button class="link clear" type="button" hidden>Clear filters</button>
			</div>
			<p class="chosen" part="chosen" hidden></p>
			<button class="skip plain" type="button">Skip the list</button>
			<ul role="list" aria-label="Voices" part="list" aria-busy="true"></ul>
			<div class="problem" part="problem" hidden></div>
			<button class="more plain" type="button" hidden>Load more</button>
			<span class="end" tabindex="-1"></span>
		</div>
	</div>
	<div class="shortlist" part="shortlist" role="group" aria-label="Shortlist" hidden>
		<strong>Shortlist</strong><span class="chips"></span>
		<button class="turn plain" type="button">Hear them in turn</button><voice-play hidden></voice-play>
		<p class="note" hidden></p>
	</div>
	<p class="unseen" aria-live="polite"></p>`;

/**
 * Chooses a voice, and takes part in a form as an `<input>` does. docs/embedding.md lists attributes and events.
 */
export class VoicePicker extends HTMLElement {
	static formAssociated = true;
	static observedAttributes = ["src", "value", "required", ...PRESETS];

	#internals = this.attachInternals();
	#client = new Client();
	#root = this.attachShadow({ mode: "open", delegatesFocus: true });
	#value = "";
	#isChosen = false; // by somebody: the attribute `value` is then a default, as an <input>'s
	/** @type {Map<string, { facts: string, voice: Voice, element: HTMLLIElement }>} those of the list, by the voice's id */
	#rows = new Map();
	/** @type {Record<string, Facet[]>} */
	#facets = {};
	/** @type {LastSync} */
	#lastSync = null;
	/** @type {Voice[]} */
	#shortlist = [];
	/** @type {Set<string>} filters all of whose values are shown */
	#opened = new Set();
	#page = 1; // the last that is shown
	/** @type {string | null} the query of what is shown */
	#shown = null;
	/** @type {AbortController | null} */
	#request = null;
	/** @type {ReturnType<typeof setTimeout> | undefined} */
	#timer;
	/** @type {ReturnType<typeof setInterval> | undefined} */
	#clock;
	#observer = new IntersectionObserver(
		// Whoever goes through the list by keyboard may want to come to its end.
		(entries) => entries.some((each) => each.isIntersecting) && !this.#list.querySelector(":focus-visible") && this.#more(),
		{ rootMargin: "800px" },
	);

	constructor() {
		super();
		this.#root.adoptedStyleSheets = [STYLES];
		this.#root.innerHTML = SKELETON;
		this.#search.addEventListener("input", () => this.#find("search", this.#search.value, TYPING));
		this.#order.addEventListener("change", () => this.#find("ordering", this.#order.value));
		this.#get(".clear").addEventListener("click", () => this.#clear());
		this.#get(".more").addEventListener("click", () => this.#more());
		this.#get(".skip").addEventListener("click", () => this.#get(".end").focus());
		this.#internals.setFormValue("");
		this.#root.addEventListener("input", (event) => event.stopPropagation()); // our own comes with the value
		for (const type of ["voice-play", "voice-error"]) this.#root.addEventListener(type, (event) => this.#heard(event));
		this.#get(".turn").addEventListener("click", () => this.#hearShortlist());
		const toggle = this.#get(".toggle");
		toggle.addEventListener("click", () => {
			toggle.ariaExpanded = String(this.#get(".filters").classList.toggle("open"));
		});
	}

	connectedCallback() {
		for (const name of ["accessToken", "query", "value", ...PROPERTIES.keys()]) {
			if (!Object.hasOwn(this, name)) continue;
			const value = Reflect.get(this, name); // set before this class was there
			Reflect.deleteProperty(this, name);
			Reflect.set(this, name, value);
		}
		this.#observer.observe(this.#get(".more"));
		this.#clock = setInterval(() => this.#showLastSync(), 30_000);
		this.refresh();
	}

	disconnectedCallback() {
		this.#observer.disconnect();
		clearInterval(this.#clock);
		clearTimeout(this.#timer);
		this.#request?.abort();
	}

	/** @param {string} name @param {string | null} before @param {string | null} now */
	attributeChangedCallback(name, before, now) {
		if (before === now) return;
		if (name === "value") {
			if (!this.#isChosen) this.#choose(now ?? "");
		} else if (name === "required") {
			this.#validate();
		} else {
			if (name === "src") this.#client.base = (now || ORIGIN).replace(/\/+$/, "");
			if (name === "search" && this.#search.value !== now) this.#search.value = now ?? "";
			if (name === "ordering") this.#showOrder(now === "name" ? "" : now ?? "");
			if (this.isConnected && this.#timer === undefined) this.refresh();
		}
	}

	/** @param {string} ordering */
	#showOrder(ordering) {
		this.#order.value = ordering;
		if (this.#order.selectedIndex < 0) this.#order.add(new Option(ordering, ordering, true, true));
	}

	// The form

	get form() {
		return this.#internals.form;
	}

	get validity() {
		return this.#internals.validity;
	}

	get validationMessage() {
		return this.#internals.validationMessage;
	}

	get willValidate() {
		return this.#internals.willValidate;
	}

	checkValidity() {
		return this.#internals.checkValidity();
	}

	reportValidity() {
		return this.#internals.reportValidity();
	}

	formResetCallback() {
		this.#isChosen = false;
		this.#choose(this.getAttribute("value") ?? "");
	}

	/** @param {boolean} disabled */
	formDisabledCallback(disabled) {
		for (const part of this.#root.children) /** @type {HTMLElement} */ (part).inert = disabled;
	}

	/** @param {string} state */
	formStateRestoreCallback(state) {
		this.value = state;
	}

	get value() {
		return this.#value;
	}

	set value(id) {
		this.#isChosen = true;
		this.#choose(String(id ?? ""));
	}

	/** @type {Client["accessToken"]} Gives a user's token, where there is no session. */
	get accessToken() {
		return this.#client.accessToken;
	}

	set accessToken(ask) {
		const isNew = !this.#client.accessToken !== !ask; // frameworks set another function each time they render
		this.#client.accessToken = ask;
		if (isNew && this.isConnected) this.refresh();
	}

	// What is looked for

	/** What is looked for, as the API's parameters. */
	get query() {
		const query = new URLSearchParams();
		for (const name of PRESETS) {
			const values = FILTERS.includes(name) ? this.#wanted(name) : [this.getAttribute(name)];
			for (const value of values) if (value) query.append(parameterOf(name), value);
		}
		return query;
	}

	set query(query) {
		for (const name of PRESETS) {
			const values = query.getAll(parameterOf(name));
			set(this, name, FILTERS.includes(name) ? joined(values) : values[0]);
		}
	}

	/** @param {string} name */
	#wanted(name) {
		const values = this.getAttribute(name)?.split(",") ?? [];
		return values.map((value) => value.trim().replaceAll("%2C", ",")).filter(Boolean);
	}

	/**
	 * Look for something else, since somebody asked for it.
	 *
	 * @param {string} name
	 * @param {string} value
	 * @param {number} [delay]  In milliseconds.
	 */
	#find(name, value, delay = 0) {
		this.refresh(delay);
		set(this, name, value);
		this.dispatchEvent(new CustomEvent("voice-find", { bubbles: true, detail: { name } }));
	}

	#clear(names = PRESETS.slice(0, -1)) {
		for (const name of names) this.removeAttribute(name);
		this.dispatchEvent(new CustomEvent("voice-find", { bubbles: true, detail: { name: "" } }));
		this.#search.focus();
	}

	// The list

	/**
	 * List the voices anew.
	 *
	 * @param {number} [delay]  In milliseconds.
	 */
	refresh(delay = 0) {
		clearTimeout(this.#timer);
		this.#request?.abort();
		this.#timer = setTimeout(() => {
			this.#timer = undefined;
			this.#load(1);
		}, delay);
	}

	#more() {
		const isBusy = this.#list.ariaBusy === "true" || this.#timer !== undefined;
		if (!isBusy && !this.#get(".more").hidden) this.#load(this.#page + 1);
	}

	/** @param {number} first  The page; the first brings those that were loaded of the same query, too. */
	async #load(first) {
		this.#request?.abort();
		const request = new AbortController();
		this.#request = request;
		this.#list.ariaBusy = "true";
		const query = this.query.toString();
		const last = first === 1 && query === this.#shown ? Math.min(this.#page, KEPT) : first;
		/** @type {Voice[]} */
		const voices = [];
		try {
			for (let page = first; ; page += 1) {
				const address = `/api/voices/?${query}${query && "&"}page=${page}`;
				const listing = await this.#client.ask(address, { signal: request.signal });
				if (request.signal.aborted) return;
				voices.push(...listing.results);
				if (page < last && listing.next) continue;
				const isNew = query !== this.#shown;
				this.#page = page;
				this.#shown = query;
				this.#show(listing, voices, first > 1);
				if (isNew && this.#get(".head").getBoundingClientRect().top < 0) this.#get(".head").scrollIntoView();
				return;
			}
		} catch (error) {
			if (request.signal.aborted) return;
			if (!(error instanceof ApiError)) throw error;
			if (first > 1 && error.code === "invalid_request") this.#load(1); // the list has become shorter
			else this.#showError(error, first);
		}
	}

	/** @param {Listing} listing @param {Voice[]} voices @param {boolean} areMore  Whether to keep the others. */
	#show(listing, voices, areMore) {
		this.#facets = listing.facets;
		this.#lastSync = listing.last_sync;
		this.#showVoices(voices, areMore);
		this.#list.ariaBusy = null;
		this.#get(".more").hidden = !listing.next;
		this.#observer.unobserve(this.#get(".more"));
		this.#observer.observe(this.#get(".more")); // it may still be in view
		this.#showFilters();
		const count = listing.count.toLocaleString("en");
		this.#get("[role=status]").textContent = `${count} ${listing.count === 1 ? "voice" : "voices"}`;
		this.#showLastSync();
		this.#showChosen();
		if (listing.count) this.#showProblem(null);
		else if (this.#isFiltered) {
			const clear = this.#button("Clear filters", () => this.#clear());
			this.#showProblem("No voice matches", "Try fewer or other words, or clear the filters.", clear);
		} else if (this.#lastSync) {
			this.#showProblem("No voices", "Ultravox lists no voice. Add one there, and sync again.");
		} else this.#showProblem("No voices yet", "They come with the first sync from Ultravox: start it, or ask whoever may.");
	}

	/**
	 * Show these voices. Rows that stay the same are not touched: one may be playing.
	 *
	 * @param {Voice[]} voices
	 * @param {boolean} areMore  Whether to keep the others.
	 */
	#showVoices(voices, areMore) {
		const before = this.#rows;
		this.#rows = new Map(areMore ? before : []);
		for (const voice of voices) {
			// Neither a sync nor another link, as each hour brings, changes what a row says.
			const facts = JSON.stringify({ ...voice, last_synced_at: null, preview_url: voice.preview_url !== null });
			const known = before.get(voice.id);
			if (known?.facts !== facts) this.#rows.set(voice.id, { facts, voice, element: this.#row(voice) });
			else {
				Object.assign(known.voice, voice); // its link
				this.#rows.set(voice.id, known);
				this.#setUp(/** @type {VoicePlay} */ (known.element.querySelector("voice-play")), voice);
			}
		}
		const wanted = [...this.#rows.values()].map((row) => row.element);
		const kept = new Set(wanted);
		for (const row of [...this.#list.children]) if (!kept.has(/** @type {HTMLLIElement} */ (row))) row.remove();
		let place = this.#list.firstElementChild;
		for (const row of wanted) {
			if (row === place) place = place.nextElementSibling;
			else this.#list.insertBefore(row, place);
		}
	}

	get #isFiltered() {
		return PRESETS.some((name) => name !== "ordering" && this.hasAttribute(name));
	}

	#showLastSync() {
		const time = this.#lastSync?.finished_at;
		this.#get(".synced").replaceChildren(...(time ? [
			"· synced ", element("time", { dateTime: time, title: new Date(time).toLocaleString() }, ago(time)),
		] : []));
	}

	/** @param {ApiError} error @param {number} page */
	#showError(error, page) {
		if (page === 1) {
			this.#shown = null;
			this.#showVoices([], false);
			this.#get("[role=status]").textContent = "No voices could be loaded";
			this.#get(".synced").replaceChildren();
		}
		this.#list.ariaBusy = null;
		this.#get(".more").hidden = true;
		const login = this.getAttribute("login");
		if (error.isSignedOut && login) {
			this.#showProblem("You are signed out", "Your session has ended; you will come back to this view.", signIn(login));
		} else if (error.code === "invalid_request") {
			this.#showProblem("This cannot be looked for", error.message, this.#button("Clear filters", () => this.#clear(PRESETS)));
		} else {
			const title = error.isSignedOut ? "You are signed out" : "The voices could not be loaded";
			this.#showProblem(title, error.message, this.#button("Try again", () => this.#load(page)));
		}
		this.#report(error);
	}

	/** @param {string} text @param {() => void} onclick */
	#button(text, onclick) {
		return element("button", { type: "button", className: "plain", onclick }, text);
	}

	/** @param {ApiError} error @param {Voice} [voice] */
	#report(error, voice) {
		const detail = { code: error.code, message: error.message, voice };
		this.dispatchEvent(new CustomEvent("voice-error", { bubbles: true, composed: true, detail }));
	}

	/** @param {string | null} title @param {string} text @param {Node | string} [action] */
	#showProblem(title, text = "", action = "") {
		const problem = this.#get(".problem");
		if (problem.contains(this.#root.activeElement)) this.#get(".columns").focus();
		problem.hidden = title === null;
		problem.replaceChildren(element("h2", {}, title ?? ""), element("p", {}, text), action);
		if (title) this.#announce(`${title}. ${text}`);
	}

	/** @param {string} text */
	#announce(text) {
		this.#get(".unseen").textContent = text;
	}

	/** @param {Voice} voice */
	#row(voice) {
		const name = called(voice);
		const row = element("li", { part: "voice" });
		const radio = element("input", {
			type: "radio", name: "voice", id: `voice-${voice.id}`, value: voice.id, checked: voice.id === this.#value,
		});
		radio.addEventListener("change", () => this.#chose(voice));
		const title = element("p", { className: "title", dir: "auto" });
		title.append(element("label", { className: "name", htmlFor: radio.id, part: "name" }, name));
		const badge = { className: "badge", part: "badge" };
		if (voice.ownership !== "public") title.append(element("span", badge, this.#label("ownership", voice.ownership)));
		badge.className += " unlisted";
		if (!voice.listed) title.append(element("span", badge, "No longer listed by Ultravox"));
		const what = element("div", { className: "what" }, title);
		if (voice.description) {
			what.append(element("p", { className: "description", dir: "auto", part: "description" }, voice.description));
		}
		what.append(element("p", { className: "note", hidden: true }));
		const facts = [this.#label("provider", voice.provider), this.#label("billing_style", voice.billing_style)];
		if (voice.preview_url === null) facts.push("No preview");
		const where = element(
			"div", { className: "where" },
			element("p", { dir: "auto" }, voice.language_label || this.#label("primary_language", voice.primary_language)),
			element("small", {}, facts.join(" · ")),
		);
		const star = element("button", {
			type: "button", className: "star", ariaLabel: `Shortlist ${name}`, innerHTML: STAR,
			ariaPressed: String(this.#isShortlisted(voice.id)), onclick: () => this.#shortlistOrNot(voice),
		});
		const copy = element("button", {
			type: "button", className: "copy", ariaLabel: `Copy id of ${name}`, title: `Copy id ${voice.id}`,
			onclick: () => this.#copy(voice),
		}, "id");
		row.append(
			radio, this.#setUp(new VoicePlay(), voice), what, where,
			element("div", { className: "actions" }, star, copy),
		);
		return row;
	}

	/**
	 * Say a value of a facet in words, which come with each list.
	 *
	 * @param {string} facet
	 * @param {string | null} value
	 */
	#label(facet, value) {
		return this.#facets[facet]?.find((each) => each.value === value)?.label ?? value ?? "Unknown";
	}

	/**
	 * Let a button play a voice.
	 *
	 * @param {VoicePlay} player
	 * @param {Voice} voice
	 */
	#setUp(player, voice) {
		player.voice = voice;
		player.setAttribute("name", called(voice));
		set(player, "src", voice.preview_url);
		player.renew = async () => (await this.#voice(voice.id)).preview_url;
		return player;
	}

	/**
	 * Pass on, with its voice, what a button tells.
	 *
	 * @param {Event} event
	 */
	#heard(event) {
		const { voice } = /** @type {VoicePlay} */ (event.target);
		if (!voice) return; // another picker's, in a slot
		event.stopPropagation();
		event.preventDefault(); // told below
		if (event.type === "voice-error") {
			const error = /** @type {CustomEvent<ApiError>} */ (event).detail;
			this.#tell(voice, error.message);
			this.#report(error, voice);
		} else {
			this.#tell(voice, "");
			this.dispatchEvent(new CustomEvent("voice-play", { bubbles: true, composed: true, detail: voice }));
		}
	}

	/**
	 * @param {string} id
	 * @returns {Promise<Voice>}
	 */
	#voice(id) {
		return this.#client.ask(`/api/voices/${encodeURIComponent(id)}/`);
	}

	/**
	 * Tell something of a voice in its row, or in the shortlist.
	 *
	 * @param {Voice} voice
	 * @param {string} text
	 * @param {boolean} [isCalm]
	 */
	#tell(voice, text, isCalm = false) {
		const row = this.#rows.get(voice.id)?.element ?? this.#get(".shortlist");
		const note = /** @type {HTMLElement} */ (row.querySelector(".note"));
		note.hidden = !text;
		note.textContent = text;
		note.classList.toggle("calm", isCalm);
		this.#announce(text);
	}

	/** @param {Voice} voice */
	async #copy(voice) {
		try {
			await navigator.clipboard.writeText(voice.id);
			this.#tell(voice, "Id copied.", true);
		} catch {
			// Not over plain HTTP, nor in a frame that may not.
			this.#tell(voice, `The browser does not allow copying. The id is ${voice.id}`, true);
		}
	}

	// The chosen voice

	/** @param {Voice} voice */
	#chose(voice) {
		this.value = voice.id;
		this.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
		this.dispatchEvent(new CustomEvent("change", { bubbles: true, detail: voice }));
	}

	/** @param {string} id */
	#choose(id) {
		this.#value = id;
		this.#internals.setFormValue(id);
		for (const radio of this.#list.querySelectorAll("input")) radio.checked = radio.value === id;
		this.#validate();
		this.#showChosen();
	}

	#validate() {
		const isMissing = this.hasAttribute("required") && !this.#value;
		this.#internals.setValidity({ valueMissing: isMissing }, isMissing ? "Choose a voice." : "", this.#search);
	}

	/** Name the chosen voice where the list does not show it. */
	async #showChosen() {
		const id = this.#value;
		const line = this.#get(".chosen");
		line.hidden = !id || this.#rows.has(id) || line.dataset.id !== id;
		if (!id || !this.isConnected || this.#rows.has(id) || this.#list.ariaBusy === "true" || !line.hidden) return;
		let text = "";
		try {
			text = `Chosen: ${called(await this.#voice(id)) ?? id}`;
		} catch (error) {
			const isGone = error instanceof ApiError && error.code === "not_found";
			text = isGone ? `The chosen voice, ${id}, is not there for you; choose another.` : `Chosen: ${id}`;
		}
		if (id !== this.#value) return;
		line.textContent = text;
		line.dataset.id = id;
		line.hidden = this.#rows.has(id);
	}

	// The filters

	#showFilters() {
		const focused = this.#root.activeElement;
		const fieldsets = FILTERS.flatMap((name) => {
			const choices = name === "language" ? this.#languages() : this.#choices(name);
			const isChoice = choices.length > 1 || choices.some((each) => each.checked);
			return isChoice ? [this.#fieldset(name, choices)] : [];
		});
		this.#get(".filters").replaceChildren(...fieldsets);
		if (focused?.id && !focused.isConnected) this.#root.getElementById(focused.id)?.focus({ preventScroll: true });
		const count = FILTERS.reduce((sum, name) => sum + this.#wanted(name).length, 0);
		this.#get(".toggle").textContent = count ? `Filters (${count})` : "Filters";
		this.#get(".clear").hidden = !this.#isFiltered;
	}

	/** @param {string} name @param {Choice[]} choices */
	#fieldset(name, choices) {
		const isOpen = this.#opened.has(name);
		const first = choices.filter((each) => !each.region).slice(0, SHOWN);
		const shown = choices.filter((each) => isOpen || each.checked || each.mixed || each.region || first.includes(each));
		const fieldset = element("fieldset", {}, element("legend", {}, LEGENDS.get(name) ?? ""));
		for (const choice of shown) {
			const box = element("input", {
				type: "checkbox", id: `${name}-${choice.value}`, checked: choice.checked, indeterminate: choice.mixed ?? false,
				onchange: () => this.#toggle(name, choice),
			});
			const count = element("small", {}, choice.count.toLocaleString("en"));
			const className = choice.region ? "choice region" : "choice";
			fieldset.append(element("label", { className }, box, element("span", { dir: "auto" }, choice.label), count));
		}
		const hidden = choices.length - shown.length;
		if (hidden > 0 || isOpen) {
			fieldset.append(element("button", {
				type: "button", className: "link", id: `${name}-more`, ariaExpanded: String(isOpen),
				onclick: () => {
					if (!this.#opened.delete(name)) this.#opened.add(name);
					this.#showFilters();
				},
			}, isOpen ? "Fewer" : `${hidden} more…`));
		}
		return fieldset;
	}

	/**
	 * @param {string} name
	 * @returns {Choice[]}
	 */
	#choices(name) {
		const wanted = this.#wanted(name);
		const choices = (this.#facets[parameterOf(name)] ?? []).map(({ value, label, count }) => {
			const parameter = String(value ?? "-");
			return { value: parameter, label, count, checked: wanted.includes(parameter) };
		});
		const missing = wanted.filter((value) => !choices.some((each) => each.value === value));
		return [...choices, ...missing.map((value) => ({ value, label: value, count: 0, checked: true }))];
	}

	/**
	 * Return languages, those of the browser first, each followed by its regions where it is wanted.
	 *
	 * @returns {Choice[]}
	 */
	#languages() {
		const wanted = new Set(this.#wanted("language").map((tag) => tag.toLowerCase()));
		/** @type {Map<string, Facet[]>} */
		const groups = new Map();
		for (const facet of this.#facets["primary_language"] ?? []) {
			const base = languageOf(String(facet.value ?? "-"));
			groups.set(base, [...(groups.get(base) ?? []), facet]);
		}
		for (const tag of wanted) if (!groups.has(languageOf(tag))) groups.set(languageOf(tag), []);
		const spoken = navigator.languages.map(languageOf).reverse();
		const choices = [...groups].map(([base, regions]) => {
			const count = regions.reduce((sum, each) => sum + each.count, 0);
			const label = nameOf(base) ?? regions[0]?.label ?? base;
			const checked = wanted.has(base);
			const mixed = !checked && [...wanted].some((tag) => languageOf(tag) === base);
			const inner = regions.map(({ value, label, count }) => ({ value: String(value ?? "-").toLowerCase(), label, count }));
			for (const value of wanted) {
				const isMissing = languageOf(value) === base && !inner.some((each) => each.value === value);
				if (isMissing) inner.push({ value, label: value, count: 0 });
			}
			const isShown = mixed || (checked && inner.length > 1);
			const tags = isShown ? inner.filter((each) => each.value !== base) : [];
			return { base, count, choices: [
				{ value: base, label, count, checked, mixed },
				...tags.map((each) => ({ ...each, checked: wanted.has(each.value), region: true })),
			] };
		});
		choices.sort((a, b) => spoken.lastIndexOf(b.base) - spoken.lastIndexOf(a.base) || b.count - a.count);
		return choices.flatMap((each) => each.choices);
	}

	/** @param {string} name @param {Choice} choice */
	#toggle(name, choice) {
		let values = this.#wanted(name).filter((each) => each.toLowerCase() !== choice.value.toLowerCase());
		if (name === "language") {
			// A language and its regions replace each other.
			const base = languageOf(choice.value);
			values = values.filter((each) => languageOf(each) !== base || (choice.region && each.toLowerCase() !== base));
		} else if (name === "listed") values = []; // the API takes one
		if (!choice.checked) values.push(choice.value);
		this.#find(name, joined(values));
	}

	// The shortlist

	/** @param {string} id */
	#isShortlisted(id) {
		return this.#shortlist.some((each) => each.id === id);
	}

	/** @param {Voice} voice */
	#shortlistOrNot(voice) {
		const others = this.#shortlist.filter((each) => each.id !== voice.id);
		if (others.length === SHORTLIST) {
			this.#tell(voice, `The shortlist holds ${SHORTLIST} voices: remove one of them first.`, true);
			return;
		}
		this.#shortlist = this.#isShortlisted(voice.id) ? others : [...others, voice];
		this.#showShortlist();
	}

	#showShortlist() {
		this.#get(".shortlist").hidden = !this.#shortlist.length;
		this.#get(".chips").replaceChildren(...this.#shortlist.map((voice) => {
			const chip = element("span", { className: "chip", part: "chip" });
			chip.append(
				element("button", {
					type: "button", dir: "auto", ariaLabel: `Choose ${called(voice)}`, onclick: () => this.#chose(voice),
				}, called(voice)),
				element("button", {
					type: "button", ariaLabel: `Remove ${called(voice)} from the shortlist`,
					onclick: () => {
						this.#shortlist = this.#shortlist.filter((each) => each !== voice);
						this.#showShortlist();
						this.#get(this.#shortlist.length ? ".chip button" : "input[type=search]").focus();
					},
				}, "×"),
			);
			return chip;
		}));
		for (const [id, { element }] of this.#rows) {
			const star = element.querySelector(".star");
			if (star) star.ariaPressed = String(this.#isShortlisted(id));
		}
		if (this.#turn.voice && !this.#isShortlisted(this.#turn.voice.id)) this.#turn.stop();
		this.#showTurn();
	}

	/** Play the shortlist's voices one after another, as it then is, or stop. */
	async #hearShortlist() {
		if (current === this.#turn) {
			this.#turn.stop();
			return;
		}
		const heard = new Set();
		for (let voice; (voice = this.#shortlist.find((each) => !heard.has(each.id))); heard.add(voice.id)) {
			const ending = this.#setUp(this.#turn, voice).play();
			this.#showTurn();
			if (!(await ending) && this.#turn.getAttribute("state") !== "failed") break; // stopped
		}
		this.#showTurn();
	}

	#showTurn() {
		const turn = current === this.#turn ? this.#turn.voice : null;
		this.#get(".turn").textContent = turn ? "Stop" : "Hear them in turn";
		for (const [place, chip] of this.#root.querySelectorAll(".chip").entries()) {
			chip.ariaCurrent = this.#shortlist[place] === turn ? "true" : null;
		}
	}

	// Its parts

	/** @param {string} selector */
	#get(selector) {
		return /** @type {HTMLElement} */ (this.#root.querySelector(selector));
	}

	get #search() {
		return /** @type {HTMLInputElement} */ (this.#get("input[type=search]"));
	}

	get #order() {
		return /** @type {HTMLSelectElement} */ (this.#get("select"));
	}

	get #list() {
		return this.#get("ul");
	}

	get #turn() {
		return /** @type {VoicePlay} */ (this.#get(".shortlist voice-play"));
	}
}

/** Properties that are attributes, too, by their names. */
const PROPERTIES = new Map(["src", "name", "required", "disabled", ...PRESETS].map((name) => [
	name.replace("-s", "S"), name,
]));
for (const [property, attribute] of PROPERTIES) {
	const isFlag = attribute === "required" || attribute === "disabled";
	Object.defineProperty(VoicePicker.prototype, property, {
		/** @this {VoicePicker} */
		get() {
			return isFlag ? this.hasAttribute(attribute) : this.getAttribute(attribute) ?? "";
		},
		/** @this {VoicePicker} @param {unknown} value */
		set(value) {
			if (isFlag) this.toggleAttribute(attribute, Boolean(value));
			else set(this, attribute, value);
		},
	});
}

// It may have been loaded under another address before.
customElements.get("voice-play") ?? customElements.define("voice-play", VoicePlay);
customElements.get("voice-picker") ?? customElements.define("voice-picker", VoicePicker);
