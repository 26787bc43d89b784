/* Each kind is a function that writes one string into a buffer; too long ones, and those of another split, are drawn again. No expression draws twice
 * (but by ? and &&): in which order it would is the compiler's choice, and the strings must not depend on that. */
#include "synth/strings.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What a kind writes into; longer than any string that is kept, and what does not fit shows by its length. */
struct pen {
	char text[48];
	size_t n;
};

static const char lower[] = "abcdefghijklmnopqrstuvwxyz", upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", digits[] = "0123456789", hex_small[] = "0123456789abcdef",
		  hex_large[] = "0123456789ABCDEF", punctuation[] = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

static void put(struct pen *p, const char *fmt, ...) MOE_PRINTF(2, 3);
static void put(struct pen *p, const char *fmt, ...)
{
	size_t room = sizeof p->text - p->n;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(p->text + p->n, room, fmt, ap);
	va_end(ap);
	p->n += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

static void put_char(struct pen *p, char c)
{
	if (p->n + 1 < sizeof p->text) {
		p->text[p->n++] = c;
		p->text[p->n] = 0;
	}
}

/* n characters out of a set. */
static void put_from(struct pen *p, struct moe_draw *r, const char *set, int n)
{
	size_t of = strlen(set);

	while (n-- > 0)
		put_char(p, set[moe_draw_below(r, of)]);
}

static int below(struct moe_draw *r, int n) { return (int)moe_draw_below(r, (size_t)n); }

static void put_fraction(struct pen *p, struct moe_draw *r, char point, int most)
{
	put_char(p, point);
	put_from(p, r, digits, moe_draw_between(r, 1, most));
}

/* A number of 1 to n digits, each length as likely; not with leading zeros. */
static int some(struct moe_draw *r, int n)
{
	static const int power[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};

	return below(r, power[moe_draw_between(r, 1, n)]);
}

/* ---- words ---- */

static void put_syllables(struct pen *p, struct moe_draw *r, int n)
{
	static const char *const onset[] = {
		"b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "x", "y", "z", "bl", "br", "ch", "ck", "cr",
		"dr", "fl", "gr", "ll", "ng", "pl", "pr", "qu", "rd", "sh", "sk", "sp", "ss", "st", "th", "tr", "tt", "wh",
	};
	static const char *const vowel[] = {"a", "e", "i", "o", "u", "a", "e", "i", "o", "u", "ai", "ea", "ee", "ie", "io", "oo", "ou", "y"};
	static const char *const coda[] = {"", "", "", "n", "r", "s", "l", "t", "m", "x", "ck", "nd"};
	struct pen w = {{0}, 0};

	while (w.n < (size_t)n) {
		put(&w, "%s", MOE_PICK(r, onset));
		put(&w, "%s", MOE_PICK(r, vowel));
		put(&w, "%s", MOE_PICK(r, coda));
	}
	w.text[n] = 0;
	put(p, "%s", w.text);
}

/* Lower case, at most n letters: of the lexicon, or like a word. */
static void put_word(struct pen *p, struct moe_draw *r, int least, int most)
{
	if (moe_draw_chance(r, 0.45))
		for (int tries = 0; tries < 8; tries++) {
			const char *w = moe_lexicon[moe_draw_below(r, moe_lexicon_n)];
			if (strlen(w) >= (size_t)least && strlen(w) <= (size_t)most) {
				put(p, "%s", w);
				return;
			}
		}
	put_syllables(p, r, moe_draw_between(r, least, most));
}

static void raise_from(struct pen *p, size_t from, size_t n)
{
	for (size_t i = from; i < p->n && i < from + n; i++)
		p->text[i] = (char)toupper((unsigned char)p->text[i]);
}

/* A word in one of the cases that words have. */
static void put_cased(struct pen *p, struct moe_draw *r, int least, int most)
{
	size_t from = p->n;
	double u = moe_draw_unit(r);

	put_word(p, r, least, most);
	raise_from(p, from, u < 0.5 ? 0 : u < 0.8 ? 1 : sizeof p->text);
}

/* Long strings are the hard ones: they are drawn more often. */
static int length(struct moe_draw *r)
{
	static const int lengths[] = {2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 12};

	return MOE_PICK(r, lengths);
}

static void put_sized(struct pen *p, struct moe_draw *r)
{
	int n = length(r);

	put_word(p, r, n > 2 ? n - 1 : n, n);
}

static void kind_lower(struct pen *p, struct moe_draw *r) { put_sized(p, r); }

static void kind_capital(struct pen *p, struct moe_draw *r)
{
	put_sized(p, r);
	raise_from(p, 0, 1);
	if (moe_draw_chance(r, 0.12))
		put(p, "%s", MOE_PICK(r, ((const char *const[]){":", "...", "!", "?", ".", ","})));
}

static void kind_upper(struct pen *p, struct moe_draw *r)
{
	put_sized(p, r);
	raise_from(p, 0, sizeof p->text);
	if (moe_draw_chance(r, 0.06))
		put(p, "%s", MOE_PICK(r, ((const char *const[]){":", "!", "?"})));
}

static void kind_random(struct pen *p, struct moe_draw *r)
{
	char set[128] = "";
	double u = moe_draw_unit(r);

	if (u < 0.75)
		strcat(set, upper);
	if (u < 0.25 || u > 0.7)
		strcat(set, lower);
	if (moe_draw_chance(r, 0.6))
		strcat(set, digits);
	put_from(p, r, set, moe_draw_between(r, 2, 10));
}

/* Two or three short words, some of them numbers. */
static void kind_phrase(struct pen *p, struct moe_draw *r)
{
	static const char *const between[] = {" ", " ", " ", " ", " ", " ", " ", " ", " ", " ", ": ", ", ", " - ", " & ", " / ", ". "};
	int n = moe_draw_chance(r, 0.3) ? 3 : 2;
	double u = moe_draw_unit(r);

	for (int i = 0; i < n; i++) {
		size_t from;
		if (i)
			put(p, "%s", n == 3 ? " " : MOE_PICK(r, between));
		from = p->n;
		if (i && moe_draw_chance(r, 0.25))
			put(p, "%d", some(r, n == 3 ? 2 : 4));
		else
			put_word(p, r, 1 + (n == 2), n == 3 ? 4 : 8);
		raise_from(p, from, u < 0.35 ? 0 : u < 0.6 ? 1 : u < 0.8 ? (i ? 0 : 1) : sizeof p->text);
	}
}

/* ---- numbers ---- */

static void put_grouped(struct pen *p, struct moe_draw *r, const char *mark, int groups)
{
	put(p, "%d", moe_draw_between(r, 1, 999));
	while (groups-- > 0)
		put(p, "%s%03d", mark, below(r, 1000));
}

static void kind_number(struct pen *p, struct moe_draw *r)
{
	int n;

	switch (below(r, 10)) {
	case 0: case 1: case 2:
		put(p, "%d", some(r, 9));
		break;
	case 3:
		put_from(p, r, digits, moe_draw_between(r, 4, 12));
		break;
	case 4:
		put(p, "%d", some(r, 4));
		put_fraction(p, r, '.', 3);
		break;
	case 5:
		n = moe_draw_between(r, 1, 4);
		put(p, "%.*f", n, moe_draw_real(r, -999, 999));
		break;
	case 6:
		put(p, "%d", some(r, 4));
		put(p, ",%02d", below(r, 100));
		break;
	case 7:
		n = moe_draw_between(r, 1, 2);
		put_grouped(p, r, MOE_PICK(r, ((const char *const[]){",", ",", ",", ".", " ", "'"})), n);
		break;
	case 8:
		put_from(p, r, "+-#", 1);
		put(p, "%d", some(r, 6));
		break;
	default:
		n = moe_draw_between(r, 1, 4);
		put(p, "%.*fe", n, moe_draw_real(r, 1, 10));
		put_from(p, r, "+-", 1);
		put(p, "%02d", below(r, 30));
	}
}

static void kind_time(struct pen *p, struct moe_draw *r)
{
	int h = below(r, 24), m = below(r, 60), s = below(r, 60);

	switch (below(r, 9)) {
	case 0: case 1: case 2:
		put(p, "%02d:%02d", h, m);
		break;
	case 3:
		put(p, "%02d:%02d:%02d", h, m, s);
		break;
	case 4:
		put(p, "%d:%02d%s", 1 + h % 12, m, MOE_PICK(r, ((const char *const[]){" AM", " PM", "am", "pm", " a.m.", " p.m.", ""})));
		break;
	case 5:
		put(p, "%d:%02d / ", below(r, 10), s);
		put(p, "%d:%02d", below(r, 10), m);
		break;
	case 6:
		put(p, "%02d:%02d", m, s);
		put_fraction(p, r, '.', 3);
		break;
	case 7:
		put(p, "%dh%s%02dm", h, moe_draw_chance(r, 0.5) ? " " : "", m);
		break;
	default:
		put(p, "%d:%02d:%02d", below(r, 10), m, s);
	}
}

static void kind_date(struct pen *p, struct moe_draw *r)
{
	static const char *const month[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	static const char *const weekday[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int m = moe_draw_between(r, 1, 12), d = moe_draw_between(r, 1, days[m - 1]), y = moe_draw_between(r, 1970, 2049);
	const char *name = month[m - 1];
	char mark = "/.-"[below(r, 3)];

	switch (below(r, 14)) {
	case 0: case 1:
		put(p, "%02d/%02d/%d", d, m, y);
		break;
	case 2:
		put(p, "%d/%d/%d", m, d, y);
		break;
	case 3:
		if (moe_draw_chance(r, 0.5))
			put(p, "%02d%c%02d%c%02d", d, mark, m, mark, y % 100);
		else
			put(p, "%02d%c%02d%c%02d", m, mark, d, mark, y % 100);
		break;
	case 4:
		put(p, "%02d.%02d.%d", d, m, y);
		break;
	case 5: case 6:
		put(p, "%d-%02d-%02d", y, m, d);
		break;
	case 7:
		put(p, "%d %s %d", d, name, y);
		break;
	case 8:
		put(p, "%s %d, %d", name, d, y);
		break;
	case 9:
		put(p, "%02d-%s-%02d", d, name, y % 100);
		break;
	case 10:
		put(p, "%s ", weekday[below(r, 7)]);
		put(p, "%s%d", moe_draw_chance(r, 0.5) ? name : "", d);
		break;
	case 11:
		put(p, "%02d/%02d", m, moe_draw_chance(r, 0.5) ? d : y % 100);
		break;
	case 12:
		put(p, "%s %d", name, moe_draw_chance(r, 0.5) ? d : y);
		break;
	default:
		put(p, "%d%c%02d%c%02d", y, mark, m, mark, d);
	}
	if (moe_draw_chance(r, 0.06))
		raise_from(p, 0, p->n);
}

static void put_amount(struct pen *p, struct moe_draw *r, char point)
{
	static const int ends[] = {0, 50, 95, 99, 99};

	if (moe_draw_chance(r, 0.15))
		put_grouped(p, r, point == '.' ? "," : ".", 1);
	else
		put(p, "%d", some(r, 4));
	if (moe_draw_chance(r, 0.85))
		put(p, "%c%02d", point, moe_draw_chance(r, 0.4) ? MOE_PICK(r, ends) : below(r, 100));
}

static void kind_price(struct pen *p, struct moe_draw *r)
{
	static const char *const codes[] = {"USD", "EUR", "GBP", "CHF", "JPY", "CAD", "AUD", "SEK", "PLN", "INR", "kr", "zl", "Fr."};
	double u = moe_draw_unit(r);
	char point = moe_draw_chance(r, 0.8) ? '.' : ',';

	if (u < 0.45)
		put(p, "%s", MOE_PICK(r, ((const char *const[]){"$", "$", "$", "$", "-$", "$ ", "US$"})));
	else if (u < 0.55)
		put(p, "%s ", MOE_PICK(r, codes));
	put_amount(p, r, point);
	if (u > 0.75)
		put(p, " %s", MOE_PICK(r, codes));
	else if (u > 0.7)
		put(p, "%s", MOE_PICK(r, ((const char *const[]){"/kg", "/mo", "/yr", " ea", ",-"})));
}

static void kind_percent(struct pen *p, struct moe_draw *r)
{
	put(p, "%s", MOE_PICK(r, ((const char *const[]){"", "", "", "", "+", "-", "-"})));
	put(p, "%d", moe_draw_chance(r, 0.85) ? below(r, 101) : some(r, 4));
	if (moe_draw_chance(r, 0.3))
		put_fraction(p, r, moe_draw_chance(r, 0.85) ? '.' : ',', 2);
	put(p, "%s", MOE_PICK(r, ((const char *const[]){"%", "%", "%", " %", "% off", "% OFF"})));
}

static void kind_unit(struct pen *p, struct moe_draw *r)
{
	static const char *const units[] = {
		"kg", "g", "mg", "lb", "oz", "km", "m", "cm", "mm", "ft", "in", "ms", "s", "min", "h", "d", "Hz", "kHz", "MHz", "GHz", "V", "mV",
		"kV", "A", "mA", "mAh", "W", "kW", "kWh", "B", "KB", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "Mbps", "MB/s", "fps", "px", "pt",
		"em", "rpm", "dB", "dBm", "bar", "hPa", "psi", "C", "F", "K", "M", "k", "x", "L", "ml", "m2", "km/h", "mph", "pcs", "items", "days",
	};

	if (moe_draw_chance(r, 0.15))
		put(p, "%c", "+-<>~"[below(r, 5)]);
	put(p, "%d", some(r, 4));
	if (moe_draw_chance(r, 0.35))
		put_fraction(p, r, moe_draw_chance(r, 0.9) ? '.' : ',', 2);
	put(p, "%s", moe_draw_chance(r, 0.55) ? " " : "");
	put(p, "%s", MOE_PICK(r, units));
}

static void kind_pair(struct pen *p, struct moe_draw *r)
{
	static const int sides[] = {
		16, 32, 64, 128, 224, 240, 256, 320, 480, 512, 600, 640, 720, 768, 800, 1024, 1080, 1200, 1280, 1440, 1920, 2160, 2560, 3840,
	};

	if (moe_draw_chance(r, 0.4)) {
		put(p, "%d", MOE_PICK(r, sides));
		put(p, "%s", MOE_PICK(r, ((const char *const[]){"x", "x", "x", " x ", "*"})));
		put(p, "%d", MOE_PICK(r, sides));
	} else if (moe_draw_chance(r, 0.5)) {
		put(p, "%d", some(r, 3));
		put(p, "%s", MOE_PICK(r, ((const char *const[]){"/", " / ", " of ", ":", "-", "x", " x "})));
		put(p, "%d", some(r, 4));
	} else {
		put(p, "(%d", some(r, 3));
		put(p, "%s", MOE_PICK(r, ((const char *const[]){"/", ", ", ","})));
		put(p, "%d)", some(r, 3));
	}
}

static void kind_phone(struct pen *p, struct moe_draw *r)
{
	switch (below(r, 4)) {
	case 0:
		put(p, "+%d", moe_draw_between(r, 1, 99));
		put(p, " %d", some(r, 7));
		break;
	case 1:
		put(p, "%03d-", below(r, 1000));
		put(p, "%03d-", below(r, 1000));
		put(p, "%04d", below(r, 10000));
		break;
	case 2:
		put(p, "0%d", moe_draw_between(r, 20, 999));
		put(p, " %d", some(r, 6));
		break;
	default:
		put(p, "(%03d)", below(r, 1000));
		put(p, " %03d", below(r, 1000));
		if (moe_draw_chance(r, 0.5))
			put(p, "-%02d", below(r, 100));
	}
}

/* ---- computers ---- */

static void kind_version(struct pen *p, struct moe_draw *r)
{
	static const char *const before[] = {"v", "v", "v", "v", "", "", "", "", "V", "r", "ver ", "ver. ", "Ver ", "version ", "V ", "rev ", "~"};
	static const char *const word[] = {"-rc%d", "rc%d", "-beta%d", "-alpha%d", "a%d", "b%d", "-%d", "+git%d", "~rc%d", "-dev%d", ".post%d", "-r%d", "p%d"};
	static const char *const plain[] = {"-beta", "-alpha", "-dev", "-dirty", "+dfsg", "-LTS", " LTS", "-final", "-SNAPSHOT", "-rc"};
	int n = moe_draw_between(r, 2, 4), most = moe_draw_chance(r, 0.5) ? 10 : moe_draw_chance(r, 0.7) ? 30 : 100;
	double u = moe_draw_unit(r);

	put(p, "%s", MOE_PICK(r, before));
	for (int i = 0; i < n; i++)
		put(p, "%s%d", i ? "." : "", below(r, most));
	if (u < 0.25) {
		const char *w = MOE_PICK(r, word), *d = strchr(w, '%');
		put(p, "%.*s%d", (int)(d - w), w, moe_draw_between(r, 0, 12));
	} else if (u < 0.35) {
		put(p, "%s", MOE_PICK(r, plain));
	}
}

/* Serial numbers, plates, orders. */
static void kind_code(struct pen *p, struct moe_draw *r)
{
	char set[64];
	int n = moe_draw_between(r, 1, 3);

	strcat(strcpy(set, upper), digits);
	if (moe_draw_chance(r, 0.35)) {         /* AB-1234 */
		put_from(p, r, upper, moe_draw_between(r, 1, 4));
		put(p, "%s", MOE_PICK(r, ((const char *const[]){"-", "-", "", " ", "_", "/", "#"})));
		put_from(p, r, digits, moe_draw_between(r, 2, 6));
		if (moe_draw_chance(r, 0.2))
			put_from(p, r, upper, moe_draw_between(r, 1, 2));
		return;
	}
	for (int i = 0; i < n; i++) {
		if (i)
			put(p, "-");
		put_from(p, r, set, moe_draw_between(r, n == 1 ? 5 : 2, n == 1 ? 12 : 5));
	}
}

static void kind_hex(struct pen *p, struct moe_draw *r)
{
	const char *set = moe_draw_chance(r, 0.6) ? hex_small : hex_large;

	if (moe_draw_chance(r, 0.5))
		put(p, "%s", MOE_PICK(r, ((const char *const[]){"0x", "0x", "#", "#", "\\x", "U+"})));
	put_from(p, r, set, MOE_PICK(r, ((const int[]){2, 4, 6, 6, 7, 8, 8, 10, 12})));
}

static void kind_address(struct pen *p, struct moe_draw *r)
{
	const char *set = moe_draw_chance(r, 0.6) ? hex_small : hex_large;
	int n = moe_draw_between(r, 2, 4);
	char mark = moe_draw_chance(r, 0.8) ? ':' : '-';

	switch (below(r, 4)) {
	case 0: case 1:
		for (int i = 0; i < n; i++)
			put(p, "%s%d", i ? "." : "", moe_draw_chance(r, 0.7) ? below(r, 256) : MOE_PICK(r, ((const int[]){0, 1, 10, 127, 168, 172, 192, 255})));
		put(p, "%s", moe_draw_chance(r, 0.7) ? "" : MOE_PICK(r, ((const char *const[]){":80", ":443", ":8080", ":22", "/24", "/16", "/8", "/32"})));
		break;
	case 2:
		for (int i = 0; i < n; i++) {
			if (i)
				put_char(p, mark);
			put_from(p, r, set, 2);
		}
		break;
	default:
		put(p, "%s", MOE_PICK(r, ((const char *const[]){"fe80::", "::", "2001:", "ff02::"})));
		put_from(p, r, hex_small, moe_draw_between(r, 1, 4));
		if (moe_draw_chance(r, 0.4))
			put(p, ":%x", (unsigned)below(r, 65536));
	}
}

static void kind_path(struct pen *p, struct moe_draw *r)
{
	static const char *const from[] = {"/", "/", "/", "~/", "./", "../", "/etc/", "/usr/", "/var/", "/dev/", "/tmp/", "C:\\", "", ""};

	put(p, "%s", MOE_PICK(r, from));
	put_word(p, r, 2, 7);
	if (moe_draw_chance(r, 0.5)) {
		put(p, "%c", strchr(p->text, '\\') ? '\\' : '/');
		put_word(p, r, 2, 6);
	} else if (moe_draw_chance(r, 0.3)) {
		put(p, "/");
	}
}

static void kind_file(struct pen *p, struct moe_draw *r)
{
	static const char *const suffix[] = {
		"txt", "py", "c", "h", "png", "jpg", "json", "md", "sh", "log", "com", "org", "io", "net", "cfg", "toml", "yml", "yaml", "rs", "go",
		"js", "ts", "css", "html", "pdf", "zip", "tar.gz", "gz", "conf", "exe", "dll", "so", "csv", "xml", "mp3", "mp4", "wav", "doc", "dev",
	};
	size_t from;

	from = p->n;
	put_word(p, r, 1, 8);
	if (moe_draw_chance(r, 0.15))
		raise_from(p, from, moe_draw_chance(r, 0.6) ? 1 : sizeof p->text);
	if (moe_draw_chance(r, 0.3)) {
		put(p, "%s", MOE_PICK(r, ((const char *const[]){"", "-", "_"})));
		put(p, "%d", some(r, 3));
	}
	put(p, ".%s", MOE_PICK(r, suffix));
}

static void kind_name(struct pen *p, struct moe_draw *r)
{
	static const char *const after[] = {"()", "();", "[]", "[0]", "++", "*", ":", ";", " {", "(x)", "[i]", "->x", ".n", "=1", "==", "!="};
	size_t from;

	switch (below(r, 4)) {
	case 0:                         /* snake_case, kebab-case */
		put_word(p, r, 2, 6);
		put(p, "%c", "__-"[below(r, 3)]);
		put_word(p, r, 2, 6);
		if (moe_draw_chance(r, 0.15))
			raise_from(p, 0, sizeof p->text);
		break;
	case 1:                         /* camelCase */
		put_word(p, r, 2, 6);
		from = p->n;
		put_word(p, r, 2, 6);
		raise_from(p, from, 1);
		break;
	case 2:
		put_word(p, r, 1, 8);
		put(p, "%s", MOE_PICK(r, after));
		break;
	default:
		put_word(p, r, 1, 6);
		put(p, "%d", some(r, 3));
	}
}

static void kind_option(struct pen *p, struct moe_draw *r)
{
	int n;

	if (moe_draw_chance(r, 0.3)) {
		put(p, "-");
		n = moe_draw_between(r, 1, 3);
		put_from(p, r, moe_draw_chance(r, 0.7) ? lower : upper, n);
		if (moe_draw_chance(r, 0.4))
			put(p, " %d", some(r, 4));
		return;
	}
	put(p, "--");
	put_word(p, r, 2, 8);
	if (moe_draw_chance(r, 0.35)) {
		put(p, "=");
		if (moe_draw_chance(r, 0.5))
			put(p, "%d", some(r, 3));
		else
			put_word(p, r, 1, 4);
	}
}

/* Prompts, assignments, mail, tags. */
static void kind_shell(struct pen *p, struct moe_draw *r)
{
	static const char *const between[] = {
		"=", "=", " = ", ": ", ":", "@", "/", "|", " | ", "+", " + ", "&", "<", ">", "->", "=>", "::", ";", "~", "^", "?", "%", "#",
	};

	if (moe_draw_chance(r, 0.4)) {
		put(p, "%s", MOE_PICK(r, ((const char *const[]){"$ ", "# ", "> ", ">>> ", "% ", "@", "#", "*", "* ", "- ", "! ", "& ", "+ ", "| "})));
		put_cased(p, r, 2, 9);
		return;
	}
	put_cased(p, r, 1, 6);
	put(p, "%s", MOE_PICK(r, between));
	if (moe_draw_chance(r, 0.5))
		put(p, "%d", some(r, 4));
	else
		put_cased(p, r, 1, 6);
}

static void kind_bracket(struct pen *p, struct moe_draw *r)
{
	static const char *const pair[] = {"()", "()", "[]", "[]", "{}", "<>", "\"\"", "\"\"", "''", "**", "``", "||", "__", "//"};
	const char *b = MOE_PICK(r, pair);

	if (moe_draw_chance(r, 0.3))
		put_cased(p, r, 1, 5);
	put_char(p, b[0]);
	if (moe_draw_chance(r, 0.35))
		put(p, "%d", some(r, 5));
	else
		put_cased(p, r, 1, 9);
	put_char(p, b[1]);
}

static void kind_symbols(struct pen *p, struct moe_draw *r)
{
	int n = moe_draw_between(r, 2, 8);

	while (n-- > 0)
		if (moe_draw_chance(r, 0.4))
			put_from(p, r, punctuation, 1);
		else
			put_char(p, (char)moe_draw_between(r, 33, 126));
}

static void kind_single(struct pen *p, struct moe_draw *r)
{
	static const char alphanumeric[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

	if (moe_draw_chance(r, 0.75))
		put_from(p, r, alphanumeric, 1);
	else
		put_char(p, (char)moe_draw_between(r, 33, 126));
}

static const struct {
	const char *name;
	double weight;
	void (*write)(struct pen *p, struct moe_draw *r);
	bool bare;              /* nothing but the drawing tells its characters */
} kinds[] = {
	{"lower", 13, kind_lower, 0}, {"capital", 12, kind_capital, 0}, {"upper", 9, kind_upper, 0}, {"random", 9, kind_random, 1},
	{"phrase", 11, kind_phrase, 0}, {"number", 7, kind_number, 0},
	{"time", 4, kind_time, 0}, {"date", 5, kind_date, 0}, {"price", 5, kind_price, 0}, {"percent", 2, kind_percent, 0},
	{"unit", 4, kind_unit, 0}, {"pair", 2, kind_pair, 0}, {"phone", 1, kind_phone, 0}, {"version", 5, kind_version, 0}, {"code", 5, kind_code, 1},
	{"hex", 2.5, kind_hex, 0}, {"address", 3, kind_address, 0}, {"path", 2.5, kind_path, 0}, {"file", 2.5, kind_file, 0}, {"name", 3, kind_name, 0},
	{"option", 2, kind_option, 0}, {"shell", 3, kind_shell, 0}, {"bracket", 3, kind_bracket, 0}, {"symbols", 3, kind_symbols, 1},
	{"single", 2.5, kind_single, 1},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

bool moe_string_has_context(const char *kind)
{
	size_t i = 0;

	while (i < N_KINDS && strcmp(kinds[i].name, kind))
		i++;
	return i < N_KINDS && !kinds[i].bare;
}

static bool is_allowed(const struct pen *p, enum moe_synth_split split)
{
	if (!p->n || p->n > MOE_LONGEST_STRING || p->text[0] == ' ' || p->text[p->n - 1] == ' ' || strstr(p->text, "  "))
		return false;
	if (strstr(p->text, "''"))      /* in many fonts this is drawn as " is */
		return false;
	return p->n == 1 || moe_synth_is_of(split, "read", p->text);
}

const char *moe_string_draw(struct moe_draw *r, enum moe_synth_split split, char out[MOE_LONGEST_STRING + 1])
{
	double weight[N_KINDS];
	size_t kind;

	for (size_t i = 0; i < N_KINDS; i++)
		weight[i] = kinds[i].weight;
	kind = moe_draw_weighted(r, weight, N_KINDS);
	for (;;) {      /* the kind stays: else a split or a length would change the mixture */
		struct pen p = {{0}, 0};
		kinds[kind].write(&p, r);
		if (!is_allowed(&p, split))
			continue;
		memcpy(out, p.text, p.n + 1);
		return p.n == 1 ? "single" : kinds[kind].name;
	}
}

bool moe_string_needs_line(const char *s) { return !s[strspn(s, "cCkKoO0pPsSuUvVwWxXzZlI1|.,'`\"-_~^*:; ")]; }
