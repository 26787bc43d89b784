// The page without it can be read; with it, layers are chosen, experts singled out, and tokens followed through the layers.
"use strict";
(() => {
	const root = document.documentElement, data = document.getElementById("tokens");
	const { layers, colours, tokens } = data ? JSON.parse(data.textContent) : { layers: [], colours: [], tokens: [] };
	const info = document.getElementById("info"), choose = document.getElementById("choose");
	const rule = document.head.appendChild(document.createElement("style"));
	let layer = "all", expert = null, pinned = null;

	const make = (name, text, attributes = {}) => {
		const e = document.createElement(name);
		e.textContent = text;
		for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
		return e;
	};

	// Layers and experts: what is not chosen is hidden or pale.
	function apply() {
		for (const figure of document.querySelectorAll("figure[data-of-layer]"))
			figure.hidden = layer !== "all" && figure.dataset.ofLayer !== layer;
		const rules = [];
		if (layer !== "all") rules.push(`.w i:not([data-layer="${layer}"]){display:none}`, "#picture figure svg{width:min(100%,460px)}");
		if (expert !== null)
			rules.push(`.facets [data-expert]:not([data-expert="${expert}"]){opacity:.13}`, `.key [data-expert]:not([data-expert="${expert}"]){opacity:.35}`);
		rule.textContent = rules.join("\n");
	}

	const numbers = layers.length ? layers.map(String) : [...new Set([...document.querySelectorAll("figure[data-of-layer]")].map((f) => f.dataset.ofLayer))];
	if (numbers.length > 1) {
		const set = choose.appendChild(document.createElement("fieldset"));
		set.append(make("legend", "layer"));
		for (const number of ["all", ...numbers]) {
			const label = make("label", ""), radio = make("input", "", { type: "radio", name: "layer", value: number });
			radio.checked = number === "all";
			radio.addEventListener("change", () => { layer = number; apply(); });
			label.append(radio, " " + number);
			set.append(label);
		}
	}
	choose.append(make("p", tokens.length ? "Point at a patch or a word to see its experts in all layers; click to keep it (Esc lets go). Click on an expert in a key to single it out."
		: "Click on an expert in a key to single it out."));

	// A token: its experts in every layer, and where else it is on the page.
	function nameOf(token) {
		const text = tokens[token][0];
		if (text !== null) return `token ${token}: ${text}`;
		const title = document.querySelector(`svg [data-token="${token}"] title`);
		const place = title && title.textContent.match(/patch in row \d+, column \d+/);
		return place ? `token ${token}: ${place[0]}` : `token ${token}: a patch`;
	}

	// Black or white, as moe_ink_on has it.
	function inkOn(colour) {
		const light = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
		const y = 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2];
		return (y + 0.05) / 0.05 >= 1.05 / (y + 0.05) ? "#000" : "#fff";
	}

	function show(token) {
		for (const e of document.querySelectorAll(".on")) e.classList.remove("on");
		info.classList.toggle("open", token !== null);
		if (token === null) {
			info.replaceChildren();
			return;
		}
		for (const e of document.querySelectorAll(`[data-token="${token}"]`)) e.classList.add("on");
		const list = document.createElement("ol");
		tokens[token][1].forEach((chosen, l) => {
			const item = list.appendChild(make("li", `layer ${layers[l]}`));
			if (!chosen.length) item.append(" none");
			for (let i = 0; i < chosen.length; i += 2) {
				const weight = chosen[i + 1] === null ? "" : ` ${Math.round(100 * chosen[i + 1])} %`, colour = colours[chosen[i]];
				item.append(make("span", `${chosen[i]}${weight}`, { class: "chip", style: `background:${colour};color:${inkOn(colour)}` }));
			}
		});
		info.replaceChildren(make("h3", nameOf(token)), list);
	}

	const tokenOf = (target) => {
		const e = target.closest && target.closest("[data-token]");
		return e && tokens[e.dataset.token] ? Number(e.dataset.token) : null;
	};

	document.addEventListener("pointerover", (event) => {
		const token = tokenOf(event.target);
		if (pinned === null) show(token);
	});
	document.addEventListener("click", (event) => {
		const key = event.target.closest(".key [data-expert]"), token = tokenOf(event.target);
		if (key) {
			expert = expert === key.dataset.expert ? null : key.dataset.expert;
			apply();
		} else if (token !== null) {
			pinned = pinned === token ? null : token;
			show(token);
		}
	});
	document.addEventListener("keydown", (event) => {
		if (event.key === "Escape") {
			pinned = expert = null;
			apply();
			show(null);
		}
		const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
		if (!step || !document.activeElement.matches(".words")) return;
		const words = [...document.querySelectorAll(".w[data-token]")].map((w) => Number(w.dataset.token));
		const at = words.indexOf(pinned) + step;
		pinned = words[at < 0 ? words.length - 1 : at % words.length];
		show(pinned);
		event.preventDefault();
	});
	root.classList.add("js");
})();
