// @ts-check
/**
 * The elements `<voice-picker>`, to find, play and select a voice, and `<voice-play>`, its play button.
 *
 * They use the API of the service at `src`, by default the origin of this file. See docs/embedding.md.
 */

/** @import { Choice, Facet, LastSync, Listing, Token, Voice } from "./types" */

/**
 * Create an element with properties and children.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} [properties]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, properties = {}, ...children) {
	const node = document.createElement(tag);
	Object.assign(node, properties);
	node.append(...children);
	return node;
}

/** @param {Element} target @param {string} name @param {unknown} value  A falsy value removes the attribute. */
function setOrRemove(target, name, value) {
	if (value) target.setAttribute(name, String(value));
	else target.removeAttribute(name);
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = /** @type {const} */ ([["day", 86400], ["hour", 3600], ["minute", 60]]); // in seconds

/** @param {string} time  In ISO 8601. */
export function ago(time) {
	const seconds = (Date.now() - Date.parse(time)) / 1000;
	for (const [unit, length] of UNITS) {
		if (seconds >= length) return relative.format(-Math.floor(seconds / length), unit);
	}
	return "just now";
}

/** An error from the API, with its `code`, or with the code `unreachable`. */
export class ApiError extends Error {
	/** @param {string} code @param {string} message */
	constructor(code, message) {
		super(message);
		this.code = code;
	}

	get isSignedOut() {
		return ["not_authenticated", "invalid_token"].includes(this.code);
	}
}

const unreachable = () => new ApiError("unreachable", "The voice service isn't responding. Try again in a moment.");

/**
 * Create a link to the sign-in page, which returns to the current view.
 *
 * @param {string} login  The address of the sign-in page.
 */
export function signInLink(login) {
	const url = new URL(login, location.href);
	url.searchParams.set("next", location.pathname + location.search + location.hash);
	return element("a", { href: url.href }, "Sign in");
}

/**
 * @param {Response} response
 * @throws {ApiError}  If the response is an error or not JSON.
 */
async function readJson(response) {
	const body = await response.json().catch(() => null);
	if (response.ok && body) return body;
	if (response.ok) throw unreachable(); // the response was cut off
	const message = body?.message ?? `The voice service had a problem (${response.status}). Try again later.`;
	throw new ApiError(body?.code ?? "internal_error", message);
}

const ORIGIN = new URL(import.meta.url).origin;

/** A client of the API, with the user's session or token. */
export class Client {
	base = ORIGIN;
	/** @type {(() => Token | Promise<Token>) | null} */
	accessToken = null;

	/**
	 * Send a request. If the token is rejected, try once more with a new one.
	 *
	 * @param {string} path
	 * @param {RequestInit} [options]
	 * @throws {ApiError}
	 */
	async request(path, options = {}) {
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
			throw new ApiError("not_authenticated", "Your session has expired. Sign in again.");
		}
		if (token) headers.set("Authorization", `Bearer ${token}`);
		let response;
		try {
			response = await fetch(this.base + path, { ...options, headers });
		} catch (error) {
			if (options.signal?.aborted) throw error;
			throw unreachable();
		}
		return readJson(response);
	}
}

/** @param {string} css */
function styleSheet(css) {
	const sheet = new CSSStyleSheet();
	sheet.replaceSync(css);
	return sheet;
}

/** Default colors, light and dark. A custom property overrides each. */
const COLORS = Object.entries({
	accent: "#0b5cd5, #7ab0ff", text: "#1b1d21, #eceef1", muted: "#5b6069, #a3a9b3", line: "#dfe1e5, #363a42",
	control: "#868c96, #767d89", surface: "#fff, #1d2025", chosen: "#eaf2ff, #212d3e", danger: "#b3261e, #ff9d94",
	warning: "#7d4e00, #efb75c",
}).map(([name, pair]) => `--${name}: var(--voice-picker-${name}, light-dark(${pair}));`).join("");

// <voice-play>

const PLAY = "M5 3v10l8-5z";
const STOP = "M4 4h8v8H4z";
const FAILED = "M7 3h2v6H7zM7 11h2v2H7z";
const PLAY_STYLES = styleSheet(`
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
		background: conic-gradient(var(--accent) var(--progress, 25%), var(--line) 0);
		mask: radial-gradient(closest-side, #0000 calc(100% - 4px), #000 calc(100% - 3px));
	}
	:host([state=loading]) button::after { animation: turn 1s linear infinite; }
	@keyframes turn { to { rotate: 1turn; } }
	@media (prefers-reduced-motion: reduce) { :host([state=loading]) button::after { animation-duration: 8s; } }
`);

const audio = new Audio(); // shared by all buttons, so that one voice plays at a time
/** @type {VoicePlay | null} */
let current = null;
audio.addEventListener("playing", () => current?.showPlaying());
audio.addEventListener("timeupdate", () => current?.showProgress());
audio.addEventListener("ended", () => current?.end("", true));
audio.addEventListener("error", () => current?.handleError());

/**
 * A button that plays and stops the preview at `src` of the voice with this `name`.
 *
 * If playback fails, it shows the reason, unless a handler cancels its `voice-error` event.
 */
export class VoicePlay extends HTMLElement {
	static observedAttributes = ["name", "src", "state"];
	#button = element("button", { type: "button", part: "button" });
	#note = element("small", { role: "alert", part: "note" });
	/** @type {(isFinished: boolean) => void} */
	#resolve = () => {};
	/** @type {(() => Promise<string | null>) | null} Returns a new `src` when the link has expired. */
	renew = null;
	/** @type {Voice | null} Set by the picker. */
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

	/** Play from the beginning, and return whether the preview played to its end. */
	async play() {
		current?.stop();
		const source = this.getAttribute("src");
		if (!source) {
			this.#report(new ApiError("no_preview", "This voice has no preview."));
			return false;
		}
		current = this;
		this.shadowRoot?.append(audio);
		this.#state("loading");
		this.#note.textContent = "";
		this.style.removeProperty("--progress");
		return new Promise((resolve) => {
			this.#resolve = resolve;
			this.#load(source);
		});
	}

	stop() {
		if (current === this) this.end("", false);
	}

	/** @param {string} source */
	#load(source) {
		audio.src = source;
		audio.play().catch((error) => {
			if (error.name === "NotAllowedError" && current === this) {
				this.#report(new ApiError("not_allowed", "Your browser blocked playback. Press Play again."));
			}
			// Other errors also fire an `error` event, or come from stopping.
		});
	}

	showPlaying() {
		if (this.getAttribute("state") === "playing") return; // playback resumed after a stall
		this.#state("playing");
		this.dispatchEvent(new CustomEvent("voice-play", { bubbles: true, composed: true }));
	}

	showProgress() {
		if (audio.duration) this.style.setProperty("--progress", `${(100 * audio.currentTime) / audio.duration}%`);
	}

	/** Renew an expired link once; otherwise report the reason, which only the API knows. */
	async handleError() {
		const source = audio.src;
		const error = await previewError(source);
		if (current !== this || audio.src !== source) return;
		if (error.isSignedOut && this.renew) {
			const renewed = await this.renew().catch(() => null);
			if (current !== this) return;
			if (renewed && renewed !== source) {
				this.setAttribute("src", renewed);
				this.#load(renewed);
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

	/** @param {string} state @param {boolean} isFinished */
	end(state, isFinished) {
		if (current === this) {
			current = null;
			audio.pause();
			audio.removeAttribute("src");
			audio.load();
			audio.remove();
		}
		this.#state(state);
		this.#resolve(isFinished);
	}

	/** @param {string} state */
	#state(state) {
		setOrRemove(this, "state", state);
	}
}

/**
 * Request a failed preview again for its error. The service caches the error for a minute, so this costs nothing.
 *
 * @param {string} source
 * @returns {Promise<ApiError>}
 */
async function previewError(source) {
	try {
		const response = await fetch(source, { redirect: "manual" });
		if (response.type === "opaqueredirect") {
			return new ApiError("preview_unavailable", "The preview couldn't be loaded from its host.");
		}
		if (response.ok) {
			response.body?.cancel();
			return new ApiError("preview_unavailable", "Your browser can't play this preview.");
		}
		return await readJson(response);
	} catch (error) {
		if (error instanceof ApiError) return error;
		return unreachable();
	}
}

// <voice-picker>

/** The legend of each filter, by its attribute. */
const LEGENDS = new Map([
	["language", "Language"], ["provider", "Provider"], ["billing-style", "Billing"], ["ownership", "Visibility"],
	["listed", "Availability"],
]);
const FILTERS = [...LEGENDS.keys()];
const PRESETS = ["search", ...FILTERS, "ordering"];
const VISIBLE_CHOICES = 7; // of a collapsed filter
const SHORTLIST_SIZE = 4;
const TYPING_DELAY = 150; // milliseconds
const MAX_RELOADED_PAGES = 10;
const STAR = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 1.5l2 4.2 4.6.6-3.4 3.2.9 4.6L8 11.8
	3.9 14.1l.9-4.6L1.4 6.3 6 5.7z"/></svg>`;
const languageNames = new Intl.DisplayNames(["en"], { type: "language", fallback: "none" });

/** @param {string} tag  A BCP 47 tag, or "-" for none. */
const baseLanguage = (tag) => tag.split("-")[0]?.toLowerCase() || tag;

/** @param {string} language */
function languageName(language) {
	try {
		return languageNames.of(language);
	} catch {
		return undefined; // not a BCP 47 tag
	}
}

/** @param {Voice} voice */
const displayName = (voice) => voice.name || voice.id;

/** @param {string} name  The name of an attribute. */
const parameterName = (name) => name.replace("-", "_");

/** @param {string[]} values  A filter's values, to become its attribute. */
const joinValues = (values) => values.map((value) => value.replaceAll(",", "%2C")).join(",");

const STYLES = styleSheet(`
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
	.head .link, .play-all { margin-inline-start: auto; }
	.selected { margin: 0 0 8px; overflow-wrap: anywhere; }
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
	.about, .facts { min-width: 0; overflow-wrap: anywhere; }
	.head p, .note, .about > *, .facts > * { margin: 0; }
	.name { font-weight: 600; cursor: pointer; }
	.name::after { content: ""; position: absolute; inset: 0; }
	li input, li voice-play, .actions, .note { position: relative; z-index: 1; }
	.title { display: flow-root; }
	.badge {
		display: inline-block; padding: 0 8px; border: 1px solid var(--control); border-radius: 1em; color: var(--muted);
		font-size: .78em; margin-inline-start: 6px;
	}
	.badge.unlisted { color: var(--warning); border-color: currentColor; }
	.description, .facts small { color: var(--muted); font-size: .92em; }
	.description { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 1; overflow: hidden; }
	li:has(:checked) .description { -webkit-line-clamp: none; }
	.note { flex-basis: 100%; color: var(--danger); font-size: .92em; }
	.note.info { color: var(--muted); }
	.facts { font-size: .92em; }
	.facts small { display: block; }
	.actions { display: flex; gap: 6px; }
	.actions button {
		min-width: 32px; height: 32px; padding: 0 6px; border: 1px solid transparent; border-radius: 6px; background: none;
		color: var(--muted); font-size: .8em; white-space: nowrap; cursor: pointer;
	}
	.actions button:hover { color: var(--accent); border-color: currentColor; }
	.actions .copy { border-color: var(--line); }
	svg { width: 18px; height: 18px; fill: none; stroke: currentColor; display: block; margin: auto; }
	[aria-pressed=true] svg { fill: var(--accent); stroke: var(--accent); }
	.problem { padding: 36px 16px; text-align: center; border: 1px dashed var(--control); border-radius: var(--radius); }
	.problem h2 { margin: 0 0 6px; font-size: 1.1em; overflow-wrap: anywhere; }
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
		.facts { grid-column: 3; grid-row: 2; }
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
		.about, .facts { grid-column: 2 / 4; }
		.facts { grid-row: auto; }
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
			<option value="">Name (A–Z)</option>
			<option value="-name">Name (Z–A)</option>
			<option value="primary_language">Language</option>
			<option value="provider">Provider</option>
			<option value="-last_synced_at">Recently synced</option>
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
				<button class="link clear" type="button" hidden>Clear all</button>
			</div>
			<p class="selected" part="chosen" hidden></p>
			<button class="skip plain" type="button">Skip voice list</button>
			<ul role="list" aria-label="Voices" part="list" aria-busy="true"></ul>
			<div class="problem" part="problem" hidden></div>
			<button class="more plain" type="button" hidden>Load more</button>
			<span class="end" tabindex="-1"></span>
		</div>
	</div>
	<div class="shortlist" part="shortlist" role="group" aria-label="Shortlist" hidden>
		<strong>Shortlist</strong><span class="chips"></span>
		<button class="play-all plain" type="button">Play all</button><voice-play hidden></voice-play>
		<p class="note" hidden></p>
	</div>
	<p class="unseen" aria-live="polite"></p>`;

/** A form control that selects a voice. docs/embedding.md lists its attributes and events. */
export class VoicePicker extends HTMLElement {
	static formAssociated = true;
	static observedAttributes = ["src", "value", "required", ...PRESETS];

	#internals = this.attachInternals();
	#client = new Client();
	#root = this.attachShadow({ mode: "open", delegatesFocus: true });
	#value = "";
	#isDirty = false; // once it is set, the attribute `value` has no effect, as for an <input>
	/** @type {Map<string, { facts: string, voice: Voice, element: HTMLLIElement }>} The list's rows, by the voice's id. */
	#rows = new Map();
	/** @type {Record<string, Facet[]>} */
	#facets = {};
	/** @type {LastSync} */
	#lastSync = null;
	/** @type {Voice[]} */
	#shortlist = [];
	/** @type {Set<string>} Filters that show all their values. */
	#expanded = new Set();
	#lastPage = 1;
	/** @type {string | null} The query of the list on the screen. */
	#shownQuery = null;
	/** @type {AbortController | null} */
	#request = null;
	/** @type {ReturnType<typeof setTimeout> | undefined} */
	#timer;
	/** @type {ReturnType<typeof setInterval> | undefined} */
	#clock;
	#observer = new IntersectionObserver(
		// A keyboard user in the list could never reach its end if it kept growing.
		(entries) => {
			const isInView = entries.some((each) => each.isIntersecting);
			if (isInView && !this.#list.querySelector(":focus-visible")) this.#loadMore();
		},
		{ rootMargin: "800px" },
	);

	constructor() {
		super();
		this.#root.adoptedStyleSheets = [STYLES];
		this.#root.innerHTML = SKELETON;
		this.#search.addEventListener("input", () => this.#setParameter("search", this.#search.value, TYPING_DELAY));
		this.#order.addEventListener("change", () => this.#setParameter("ordering", this.#order.value));
		this.#get(".clear").addEventListener("click", () => this.#clear());
		this.#get(".more").addEventListener("click", () => this.#loadMore());
		this.#get(".skip").addEventListener("click", () => this.#get(".end").focus());
		this.#internals.setFormValue("");
		this.#root.addEventListener("input", (event) => event.stopPropagation()); // #select sends another
		for (const type of ["voice-play", "voice-error"]) {
			this.#root.addEventListener(type, (event) => this.#forwardEvent(event));
		}
		this.#get(".play-all").addEventListener("click", () => this.#playShortlist());
		const toggle = this.#get(".toggle");
		toggle.addEventListener("click", () => {
			toggle.ariaExpanded = String(this.#get(".filters").classList.toggle("open"));
		});
	}

	connectedCallback() {
		for (const name of ["accessToken", "query", "value", ...PROPERTIES.keys()]) {
			if (!Object.hasOwn(this, name)) continue;
			const value = Reflect.get(this, name); // was set before the class was defined
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
			if (!this.#isDirty) this.#setValue(now ?? "");
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
		this.#isDirty = false;
		this.#setValue(this.getAttribute("value") ?? "");
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
		this.#isDirty = true;
		this.#setValue(String(id ?? ""));
	}

	/** @type {Client["accessToken"]} Returns the user's token. Not needed with a session. */
	get accessToken() {
		return this.#client.accessToken;
	}

	set accessToken(getToken) {
		const isNew = !this.#client.accessToken !== !getToken; // frameworks set a new function on each render
		this.#client.accessToken = getToken;
		if (isNew && this.isConnected) this.refresh();
	}

	// The query

	/** The search, the filters and the order, as parameters of the API. */
	get query() {
		const query = new URLSearchParams();
		for (const name of PRESETS) {
			const values = FILTERS.includes(name) ? this.#values(name) : [this.getAttribute(name)];
			for (const value of values) if (value) query.append(parameterName(name), value);
		}
		return query;
	}

	set query(query) {
		for (const name of PRESETS) {
			const values = query.getAll(parameterName(name));
			setOrRemove(this, name, FILTERS.includes(name) ? joinValues(values) : values[0]);
		}
	}

	/** @param {string} name */
	#values(name) {
		const values = this.getAttribute(name)?.split(",") ?? [];
		return values.map((value) => value.trim().replaceAll("%2C", ",")).filter(Boolean);
	}

	/**
	 * Apply a user's change to the query.
	 *
	 * @param {string} name
	 * @param {string} value
	 * @param {number} [delay]  In milliseconds.
	 */
	#setParameter(name, value, delay = 0) {
		this.refresh(delay);
		setOrRemove(this, name, value);
		this.dispatchEvent(new CustomEvent("voice-find", { bubbles: true, detail: { name } }));
	}

	#clear(names = ["search", ...FILTERS]) {
		for (const name of names) this.removeAttribute(name);
		this.dispatchEvent(new CustomEvent("voice-find", { bubbles: true, detail: { name: "" } }));
		this.#search.focus();
	}

	// The list

	/**
	 * Reload the list.
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

	#loadMore() {
		const isBusy = this.#list.ariaBusy === "true" || this.#timer !== undefined;
		if (!isBusy && !this.#get(".more").hidden) this.#load(this.#lastPage + 1);
	}

	/** @param {number} first  The page to load. Page 1 also reloads the following pages on the screen. */
	async #load(first) {
		this.#request?.abort();
		const request = new AbortController();
		this.#request = request;
		this.#list.ariaBusy = "true";
		const query = this.query.toString();
		const last = first === 1 && query === this.#shownQuery ? Math.min(this.#lastPage, MAX_RELOADED_PAGES) : first;
		/** @type {Voice[]} */
		const voices = [];
		try {
			for (let page = first; ; page += 1) {
				const address = `/api/voices/?${query}${query && "&"}page=${page}`;
				const listing = await this.#client.request(address, { signal: request.signal });
				if (request.signal.aborted) return;
				voices.push(...listing.results);
				if (page < last && listing.next) continue;
				const isNew = query !== this.#shownQuery;
				this.#lastPage = page;
				this.#shownQuery = query;
				this.#show(listing, voices, first > 1);
				if (isNew && this.#get(".head").getBoundingClientRect().top < 0) this.#get(".head").scrollIntoView();
				return;
			}
		} catch (error) {
			if (request.signal.aborted) return;
			if (!(error instanceof ApiError)) throw error;
			if (first > 1 && error.code === "invalid_request") this.#load(1); // the list is shorter now
			else this.#showError(error, first);
		}
	}

	/** @param {Listing} listing @param {Voice[]} voices @param {boolean} isNextPage */
	#show(listing, voices, isNextPage) {
		this.#facets = listing.facets;
		this.#lastSync = listing.last_sync;
		this.#showVoices(voices, isNextPage);
		this.#list.ariaBusy = null;
		this.#get(".more").hidden = !listing.next;
		this.#observer.unobserve(this.#get(".more"));
		this.#observer.observe(this.#get(".more")); // fires again if the button is still in view
		this.#showFilters();
		const count = listing.count.toLocaleString("en");
		this.#get("[role=status]").textContent = `${count} ${listing.count === 1 ? "voice" : "voices"}`;
		this.#showLastSync();
		this.#showSelected();
		if (listing.count) this.#showProblem(null);
		else if (this.#isFiltered) {
			const words = this.getAttribute("search");
			const title = words ? `No voices match “${words}”` : "No voices match these filters";
			const advice = words ? "Try different words or clear the filters." : "Change or clear the filters.";
			this.#showProblem(title, advice, this.#createButton("Clear all", () => this.#clear()));
		} else if (this.#lastSync) {
			this.#showProblem("Your Ultravox account has no voices", "Add one there, then sync again.");
		} else this.#showProblem("No voices yet", "Sync from Ultravox to load them, or ask an administrator.");
	}

	/**
	 * Show these voices. Unchanged rows stay in place, because one may be playing.
	 *
	 * @param {Voice[]} voices
	 * @param {boolean} isNextPage  Whether to keep the other rows.
	 */
	#showVoices(voices, isNextPage) {
		const previous = this.#rows;
		this.#rows = new Map(isNextPage ? previous : []);
		for (const voice of voices) {
			// A row shows neither the time of its last sync nor its link, which changes each hour.
			const facts = JSON.stringify({ ...voice, last_synced_at: null, preview_url: voice.preview_url !== null });
			const known = previous.get(voice.id);
			if (known?.facts !== facts) this.#rows.set(voice.id, { facts, voice, element: this.#createRow(voice) });
			else {
				Object.assign(known.voice, voice);
				this.#rows.set(voice.id, known);
				this.#setUpPlayer(/** @type {VoicePlay} */ (known.element.querySelector("voice-play")), voice);
			}
		}
		const elements = [...this.#rows.values()].map((row) => row.element);
		const shown = new Set(elements);
		for (const row of [...this.#list.children]) if (!shown.has(/** @type {HTMLLIElement} */ (row))) row.remove();
		let place = this.#list.firstElementChild;
		for (const row of elements) {
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
			this.#shownQuery = null;
			this.#showVoices([], false);
			this.#get("[role=status]").textContent = "";
			this.#get(".synced").replaceChildren();
		}
		this.#list.ariaBusy = null;
		this.#get(".more").hidden = true;
		const login = this.getAttribute("login");
		if (error.isSignedOut && login) {
			const text = "Your session has expired. Sign in to return to this view.";
			this.#showProblem("You are signed out", text, signInLink(login));
		} else if (error.code === "invalid_request") {
			const clear = this.#createButton("Clear all", () => this.#clear(PRESETS));
			this.#showProblem("These filters aren't valid", "This link contains a filter we don't recognize.", clear);
		} else {
			const title = error.isSignedOut ? "You are signed out" : "Couldn't load voices";
			this.#showProblem(title, error.message, this.#createButton("Try again", () => this.#load(page)));
		}
		this.#report(error);
	}

	/** @param {string} text @param {() => void} onclick */
	#createButton(text, onclick) {
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
	#createRow(voice) {
		const name = displayName(voice);
		const row = element("li", { part: "voice" });
		const radio = element("input", {
			type: "radio", name: "voice", id: `voice-${voice.id}`, value: voice.id, checked: voice.id === this.#value,
		});
		radio.addEventListener("change", () => this.#select(voice));
		const title = element("p", { className: "title", dir: "auto" });
		title.append(element("label", { className: "name", htmlFor: radio.id, part: "name" }, name));
		const badge = { className: "badge", part: "badge" };
		if (voice.ownership !== "public") title.append(element("span", badge, this.#label("ownership", voice.ownership)));
		badge.className += " unlisted";
		if (!voice.listed) title.append(element("span", badge, "No longer in Ultravox"));
		const about = element("div", { className: "about" }, title);
		if (voice.description) {
			about.append(element("p", { className: "description", dir: "auto", part: "description" }, voice.description));
		}
		about.append(element("p", { className: "note", hidden: true }));
		const details = [this.#label("provider", voice.provider), this.#label("billing_style", voice.billing_style)];
		if (voice.preview_url === null) details.push("No preview");
		const facts = element(
			"div", { className: "facts" },
			element("p", { dir: "auto" }, voice.language_label || this.#label("primary_language", voice.primary_language)),
			element("small", {}, details.join(" · ")),
		);
		const star = element("button", {
			type: "button", className: "star", ariaLabel: `Shortlist ${name}`, innerHTML: STAR,
			ariaPressed: String(this.#isShortlisted(voice.id)), onclick: () => this.#toggleShortlisted(voice),
		});
		const copy = element("button", {
			type: "button", className: "copy", ariaLabel: `Copy ID of ${name}`, title: `ID: ${voice.id}`,
			onclick: () => this.#copy(voice),
		}, "Copy ID");
		row.append(
			radio, this.#setUpPlayer(new VoicePlay(), voice), about, facts,
			element("div", { className: "actions" }, star, copy),
		);
		return row;
	}

	/** @param {string} facet @param {string | null} value */
	#label(facet, value) {
		return this.#facets[facet]?.find((each) => each.value === value)?.label ?? value ?? "Unknown";
	}

	/** @param {VoicePlay} player @param {Voice} voice */
	#setUpPlayer(player, voice) {
		player.voice = voice;
		player.setAttribute("name", displayName(voice));
		setOrRemove(player, "src", voice.preview_url);
		player.renew = async () => (await this.#fetchVoice(voice.id))?.preview_url ?? null;
		return player;
	}

	/**
	 * Send a play button's event again, with its voice.
	 *
	 * @param {Event} event
	 */
	#forwardEvent(event) {
		const { voice } = /** @type {VoicePlay} */ (event.target);
		if (!voice) return; // not a button of this picker
		event.stopPropagation();
		event.preventDefault(); // the row shows the error
		if (event.type === "voice-error") {
			const error = /** @type {CustomEvent<ApiError>} */ (event).detail;
			this.#showNote(voice, error.message);
			this.#report(error, voice);
		} else {
			this.#showNote(voice, "");
			this.dispatchEvent(new CustomEvent("voice-play", { bubbles: true, composed: true, detail: voice }));
		}
	}

	/**
	 * @param {string} id
	 * @returns {Promise<Voice | undefined>}
	 */
	async #fetchVoice(id) {
		return (await this.#client.request(`/api/voices/?id=${encodeURIComponent(id)}`)).results[0];
	}

	/**
	 * Show a note in a voice's row, or in the shortlist.
	 *
	 * @param {Voice} voice
	 * @param {string} text
	 * @param {boolean} [isInfo]
	 */
	#showNote(voice, text, isInfo = false) {
		const row = this.#rows.get(voice.id)?.element ?? this.#get(".shortlist");
		const note = /** @type {HTMLElement} */ (row.querySelector(".note"));
		note.hidden = !text;
		note.textContent = text;
		note.classList.toggle("info", isInfo);
		this.#announce(text);
	}

	/** @param {Voice} voice */
	async #copy(voice) {
		try {
			await navigator.clipboard.writeText(voice.id);
			this.#showNote(voice, "ID copied", true);
		} catch {
			// Browsers block copying over plain HTTP, and in a frame without permission.
			this.#showNote(voice, `Your browser blocked copying. ID: ${voice.id}`, true);
		}
	}

	// The selected voice

	/** @param {Voice} voice */
	#select(voice) {
		this.value = voice.id;
		this.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
		this.dispatchEvent(new CustomEvent("change", { bubbles: true, detail: voice }));
	}

	/** @param {string} id */
	#setValue(id) {
		this.#value = id;
		this.#internals.setFormValue(id);
		for (const radio of this.#list.querySelectorAll("input")) radio.checked = radio.value === id;
		this.#validate();
		this.#showSelected();
	}

	#validate() {
		const isMissing = this.hasAttribute("required") && !this.#value;
		this.#internals.setValidity({ valueMissing: isMissing }, isMissing ? "Select a voice." : "", this.#search);
	}

	/** Name the selected voice if the list does not show it. */
	async #showSelected() {
		const id = this.#value;
		const line = this.#get(".selected");
		line.hidden = !id || this.#rows.has(id) || line.dataset.id !== id;
		if (!id || !this.isConnected || this.#rows.has(id) || this.#list.ariaBusy === "true" || !line.hidden) return;
		let text = "";
		try {
			const voice = await this.#fetchVoice(id);
			text = voice
				? `Selected: ${displayName(voice)}`
				: `The selected voice (${id}) is no longer available. Choose another.`;
		} catch {
			text = `Selected: ${id}`;
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
			const choices = name === "language" ? this.#languageChoices() : this.#choices(name);
			const isChoice = choices.length > 1 || choices.some((each) => each.checked);
			return isChoice ? [this.#fieldset(name, choices)] : [];
		});
		this.#get(".filters").replaceChildren(...fieldsets);
		if (focused?.id && !focused.isConnected) this.#root.getElementById(focused.id)?.focus({ preventScroll: true });
		const count = FILTERS.reduce((sum, name) => sum + this.#values(name).length, 0);
		this.#get(".toggle").textContent = count ? `Filters (${count})` : "Filters";
		this.#get(".clear").hidden = !this.#isFiltered;
	}

	/** @param {string} name @param {Choice[]} choices */
	#fieldset(name, choices) {
		const isOpen = this.#expanded.has(name);
		const first = choices.filter((each) => !each.region).slice(0, VISIBLE_CHOICES);
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
					if (!this.#expanded.delete(name)) this.#expanded.add(name);
					this.#showFilters();
				},
			}, isOpen ? "Show less" : `Show ${hidden} more`));
		}
		return fieldset;
	}

	/**
	 * @param {string} name
	 * @returns {Choice[]}
	 */
	#choices(name) {
		const selected = this.#values(name);
		const choices = (this.#facets[parameterName(name)] ?? []).map(({ value, label, count }) => {
			const parameter = String(value ?? "-");
			return { value: parameter, label, count, checked: selected.includes(parameter) };
		});
		const missing = selected.filter((value) => !choices.some((each) => each.value === value));
		return [...choices, ...missing.map((value) => ({ value, label: value, count: 0, checked: true }))];
	}

	/**
	 * Return the languages, the browser's first, each with its regions if it is selected.
	 *
	 * @returns {Choice[]}
	 */
	#languageChoices() {
		const selected = new Set(this.#values("language").map((tag) => tag.toLowerCase()));
		/** @type {Map<string, Facet[]>} */
		const groups = new Map();
		for (const facet of this.#facets["primary_language"] ?? []) {
			const base = baseLanguage(String(facet.value ?? "-"));
			groups.set(base, [...(groups.get(base) ?? []), facet]);
		}
		for (const tag of selected) if (!groups.has(baseLanguage(tag))) groups.set(baseLanguage(tag), []);
		const spoken = navigator.languages.map(baseLanguage).reverse();
		const choices = [...groups].map(([base, regions]) => {
			const count = regions.reduce((sum, each) => sum + each.count, 0);
			const label = languageName(base) ?? regions[0]?.label ?? base;
			const checked = selected.has(base);
			const mixed = !checked && [...selected].some((tag) => baseLanguage(tag) === base);
			const inner = regions.map(({ value, label, count }) => ({ value: String(value ?? "-").toLowerCase(), label, count }));
			for (const value of selected) {
				const isMissing = baseLanguage(value) === base && !inner.some((each) => each.value === value);
				if (isMissing) inner.push({ value, label: value, count: 0 });
			}
			const isShown = mixed || (checked && inner.length > 1);
			const tags = isShown ? inner.filter((each) => each.value !== base) : [];
			return { base, count, choices: [
				{ value: base, label, count, checked, mixed },
				...tags.map((each) => ({ ...each, checked: selected.has(each.value), region: true })),
			] };
		});
		choices.sort((a, b) => spoken.lastIndexOf(b.base) - spoken.lastIndexOf(a.base) || b.count - a.count);
		return choices.flatMap((each) => each.choices);
	}

	/** @param {string} name @param {Choice} choice */
	#toggle(name, choice) {
		let values = this.#values(name).filter((each) => each.toLowerCase() !== choice.value.toLowerCase());
		if (name === "language") {
			// A language and its regions replace each other.
			const base = baseLanguage(choice.value);
			values = values.filter((each) => baseLanguage(each) !== base || (choice.region && each.toLowerCase() !== base));
		} else if (name === "listed") values = []; // the API accepts one value
		if (!choice.checked) values.push(choice.value);
		this.#setParameter(name, joinValues(values));
	}

	// The shortlist

	/** @param {string} id */
	#isShortlisted(id) {
		return this.#shortlist.some((each) => each.id === id);
	}

	/** @param {Voice} voice */
	#toggleShortlisted(voice) {
		const others = this.#shortlist.filter((each) => each.id !== voice.id);
		if (others.length === SHORTLIST_SIZE) {
			this.#showNote(voice, `Your shortlist is full (${SHORTLIST_SIZE} voices). Remove one first.`, true);
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
					type: "button", dir: "auto", ariaLabel: `Select ${displayName(voice)}`, onclick: () => this.#select(voice),
				}, displayName(voice)),
				element("button", {
					type: "button", ariaLabel: `Remove ${displayName(voice)} from the shortlist`,
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
		if (this.#shortlistPlayer.voice && !this.#isShortlisted(this.#shortlistPlayer.voice.id)) this.#shortlistPlayer.stop();
		this.#showPlayAll();
	}

	/** Play the shortlist's voices one after another, or stop. The shortlist may change in between. */
	async #playShortlist() {
		if (current === this.#shortlistPlayer) {
			this.#shortlistPlayer.stop();
			return;
		}
		const played = new Set();
		for (let voice; (voice = this.#shortlist.find((each) => !played.has(each.id))); played.add(voice.id)) {
			const ending = this.#setUpPlayer(this.#shortlistPlayer, voice).play();
			this.#showPlayAll();
			if (!(await ending) && this.#shortlistPlayer.getAttribute("state") !== "failed") break; // stopped
		}
		this.#showPlayAll();
	}

	#showPlayAll() {
		const playing = current === this.#shortlistPlayer ? this.#shortlistPlayer.voice : null;
		this.#get(".play-all").textContent = playing ? "Stop" : "Play all";
		for (const [place, chip] of this.#root.querySelectorAll(".chip").entries()) {
			chip.ariaCurrent = this.#shortlist[place] === playing ? "true" : null;
		}
	}

	// Parts

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

	get #shortlistPlayer() {
		return /** @type {VoicePlay} */ (this.#get(".shortlist voice-play"));
	}
}

/** The attribute of each property. */
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
			else setOrRemove(this, attribute, value);
		},
	});
}

// The page may have loaded this module before, from another address.
customElements.get("voice-play") ?? customElements.define("voice-play", VoicePlay);
customElements.get("voice-picker") ?? customElements.define("voice-picker", VoicePicker);
