/* Character properties by the names that patterns use. PCRE2 of Debian 12 knows Unicode 14, the engine that published tokenizers were made with
 * Unicode 16: behind each property stands what came between (Unicode Character Database 15.0, 15.1 and 16.0), as items of a character class. */
#include <string.h>

#include "text/text_priv.h"

static const struct property {
	const char *names, *base, *newer;
} properties[] = {
	{"lu uppercaseletter", "\\p{Lu}",
	 "\\x{1c89}\\x{a7cb}-\\x{a7cc}\\x{a7da}\\x{a7dc}\\x{10d50}-\\x{10d65}"},
	{"ll lowercaseletter", "\\p{Ll}",
	 "\\x{1c8a}\\x{a7cd}\\x{a7db}\\x{10d70}-\\x{10d85}\\x{1df25}-\\x{1df2a}"},
	{"lt titlecaseletter", "\\p{Lt}", ""},
	{"lm modifierletter", "\\p{Lm}",
	 "\\x{10d4e}\\x{10d6f}\\x{16d40}-\\x{16d42}\\x{16d6b}-\\x{16d6c}\\x{1e030}-\\x{1e06d}\\x{1e4eb}"},
	{"lo otherletter", "\\p{Lo}",
	 "\\x{105c0}-\\x{105f3}\\x{10d4a}-\\x{10d4d}\\x{10d4f}\\x{10ec2}-\\x{10ec4}\\x{1123f}-\\x{11240}\\x{11380}-\\x{11389}"
	 "\\x{1138b}\\x{1138e}\\x{11390}-\\x{113b5}\\x{113b7}\\x{113d1}\\x{113d3}\\x{11bc0}-\\x{11be0}\\x{11f02}"
	 "\\x{11f04}-\\x{11f10}\\x{11f12}-\\x{11f33}\\x{1342f}\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}\\x{16100}-\\x{1611d}"
	 "\\x{16d43}-\\x{16d6a}\\x{18cff}\\x{1b132}\\x{1b155}\\x{1e4d0}-\\x{1e4ea}\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}\\x{2b739}"
	 "\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"},
	{"mn nonspacingmark", "\\p{Mn}",
	 "\\x{897}\\x{ece}\\x{10d69}-\\x{10d6d}\\x{10efc}-\\x{10eff}\\x{11241}\\x{113bb}-\\x{113c0}\\x{113ce}\\x{113d0}"
	 "\\x{113d2}\\x{113e1}-\\x{113e2}\\x{11f00}-\\x{11f01}\\x{11f36}-\\x{11f3a}\\x{11f40}\\x{11f42}\\x{11f5a}\\x{13440}"
	 "\\x{13447}-\\x{13455}\\x{1611e}-\\x{16129}\\x{1612d}-\\x{1612f}\\x{1e08f}\\x{1e4ec}-\\x{1e4ef}\\x{1e5ee}-\\x{1e5ef}"},
	{"mc spacingmark", "\\p{Mc}",
	 "\\x{cf3}\\x{113b8}-\\x{113ba}\\x{113c2}\\x{113c5}\\x{113c7}-\\x{113ca}\\x{113cc}-\\x{113cd}\\x{113cf}\\x{1171e}"
	 "\\x{11f03}\\x{11f34}-\\x{11f35}\\x{11f3e}-\\x{11f3f}\\x{11f41}\\x{1612a}-\\x{1612c}"},
	{"me enclosingmark", "\\p{Me}", ""},
	{"nd decimalnumber", "\\p{Nd}",
	 "\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}\\x{16130}-\\x{16139}"
	 "\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1e4f0}-\\x{1e4f9}\\x{1e5f1}-\\x{1e5fa}"},
	{"nl letternumber", "\\p{Nl}", ""},
	{"no othernumber", "\\p{No}",
	 "\\x{1d2c0}-\\x{1d2d3}"},
	{"pc connectorpunctuation", "\\p{Pc}", ""},
	{"pd dashpunctuation", "\\p{Pd}",
	 "\\x{10d6e}"},
	{"ps openpunctuation", "\\p{Ps}", ""},
	{"pe closepunctuation", "\\p{Pe}", ""},
	{"pi initialpunctuation", "\\p{Pi}", ""},
	{"pf finalpunctuation", "\\p{Pf}", ""},
	{"po otherpunctuation", "\\p{Po}",
	 "\\x{1b4e}-\\x{1b4f}\\x{1b7f}\\x{113d4}-\\x{113d5}\\x{113d7}-\\x{113d8}\\x{11b00}-\\x{11b09}\\x{11be1}"
	 "\\x{11f43}-\\x{11f4f}\\x{16d6d}-\\x{16d6f}\\x{1e5ff}"},
	{"sm mathsymbol", "\\p{Sm}",
	 "\\x{10d8e}-\\x{10d8f}"},
	{"sc currencysymbol", "\\p{Sc}", ""},
	{"sk modifiersymbol", "\\p{Sk}", ""},
	{"so othersymbol", "\\p{So}",
	 "\\x{2427}-\\x{2429}\\x{2ffc}-\\x{2fff}\\x{31e4}-\\x{31e5}\\x{31ef}\\x{1cc00}-\\x{1ccef}\\x{1cd00}-\\x{1ceb3}\\x{1f6dc}"
	 "\\x{1f774}-\\x{1f776}\\x{1f77b}-\\x{1f77f}\\x{1f7d9}\\x{1f8b2}-\\x{1f8bb}\\x{1f8c0}-\\x{1f8c1}\\x{1fa75}-\\x{1fa77}"
	 "\\x{1fa87}-\\x{1fa89}\\x{1fa8f}\\x{1faad}-\\x{1faaf}\\x{1fabb}-\\x{1fabf}\\x{1fac6}\\x{1face}-\\x{1facf}"
	 "\\x{1fada}-\\x{1fadc}\\x{1fadf}\\x{1fae8}-\\x{1fae9}\\x{1faf7}-\\x{1faf8}\\x{1fbcb}-\\x{1fbef}"},
	{"zs spaceseparator", "\\p{Zs}", ""},
	{"zl lineseparator", "\\p{Zl}", ""},
	{"zp paragraphseparator", "\\p{Zp}", ""},
	{"cc control", "\\p{Cc}", ""},
	{"cf format", "\\p{Cf}",
	 "\\x{13439}-\\x{1343f}"},
	{"co privateuse", "\\p{Co}", ""},
	{"alphabetic alpha", "\\p{Alphabetic}",
	 "\\x{897}\\x{cf3}\\x{1c89}-\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}\\x{10d4a}-\\x{10d65}"
	 "\\x{10d69}\\x{10d6f}-\\x{10d85}\\x{10ec2}-\\x{10ec4}\\x{10efc}\\x{1123f}-\\x{11241}\\x{11380}-\\x{11389}\\x{1138b}"
	 "\\x{1138e}\\x{11390}-\\x{113b5}\\x{113b7}-\\x{113c0}\\x{113c2}\\x{113c5}\\x{113c7}-\\x{113ca}\\x{113cc}-\\x{113cd}"
	 "\\x{113d1}\\x{113d3}\\x{1171e}\\x{11bc0}-\\x{11be0}\\x{11f00}-\\x{11f10}\\x{11f12}-\\x{11f3a}\\x{11f3e}-\\x{11f40}"
	 "\\x{1342f}\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}\\x{16100}-\\x{1612e}\\x{16d40}-\\x{16d6c}\\x{18cff}\\x{1b132}"
	 "\\x{1b155}\\x{1df25}-\\x{1df2a}\\x{1e030}-\\x{1e06d}\\x{1e08f}\\x{1e4d0}-\\x{1e4eb}\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}"
	 "\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"},
	{"uppercase upper", "\\p{Uppercase}",
	 "\\x{1c89}\\x{a7cb}-\\x{a7cc}\\x{a7da}\\x{a7dc}\\x{10d50}-\\x{10d65}"},
	{"lowercase lower", "\\p{Lowercase}",
	 "\\x{1c8a}\\x{a7cd}\\x{a7db}\\x{10d70}-\\x{10d85}\\x{1df25}-\\x{1df2a}\\x{1e030}-\\x{1e06d}"},
	{"han", "\\p{sc:Han}",
	 "\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"},
	{"hiragana", "\\p{sc:Hiragana}",
	 "\\x{1b132}"},
	{"katakana", "\\p{sc:Katakana}",
	 "\\x{1b155}"},
	{"latin", "\\p{sc:Latin}",
	 "\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{1df25}-\\x{1df2a}"},
	{"cyrillic", "\\p{sc:Cyrillic}",
	 "\\x{1c89}-\\x{1c8a}\\x{1e030}-\\x{1e06d}\\x{1e08f}"},
	{"greek", "\\p{sc:Greek}", ""},
	{"arabic", "\\p{sc:Arabic}",
	 "\\x{897}\\x{10ec2}-\\x{10ec4}\\x{10efc}-\\x{10eff}"},
	{"hebrew", "\\p{sc:Hebrew}", ""},
	{"thai", "\\p{sc:Thai}", ""},
	{"hangul", "\\p{sc:Hangul}", ""},
	{"devanagari", "\\p{sc:Devanagari}",
	 "\\x{11b00}-\\x{11b09}"},
	{"bopomofo", "\\p{sc:Bopomofo}", ""},
	{"armenian", "\\p{sc:Armenian}", ""},
	{"georgian", "\\p{sc:Georgian}", ""},
	{"bengali", "\\p{sc:Bengali}", ""},
	{"tamil", "\\p{sc:Tamil}", ""},
	{"telugu", "\\p{sc:Telugu}", ""},
	{"kannada", "\\p{sc:Kannada}",
	 "\\x{cf3}"},
	{"malayalam", "\\p{sc:Malayalam}", ""},
	{"gujarati", "\\p{sc:Gujarati}", ""},
	{"gurmukhi", "\\p{sc:Gurmukhi}", ""},
	{"khmer", "\\p{sc:Khmer}", ""},
	{"lao", "\\p{sc:Lao}",
	 "\\x{ece}"},
	{"myanmar", "\\p{sc:Myanmar}",
	 "\\x{116d0}-\\x{116e3}"},
	{"ethiopic", "\\p{sc:Ethiopic}", ""},
	{"tibetan", "\\p{sc:Tibetan}", ""},
	{"sinhala", "\\p{sc:Sinhala}", ""},
	{"mongolian", "\\p{sc:Mongolian}", ""},
	{"common", "\\p{sc:Common}",
	 "\\x{2427}-\\x{2429}\\x{2ffc}-\\x{2fff}\\x{31e4}-\\x{31e5}\\x{31ef}\\x{1cc00}-\\x{1ccf9}\\x{1cd00}-\\x{1ceb3}"
	 "\\x{1d2c0}-\\x{1d2d3}\\x{1f6dc}\\x{1f774}-\\x{1f776}\\x{1f77b}-\\x{1f77f}\\x{1f7d9}\\x{1f8b2}-\\x{1f8bb}"
	 "\\x{1f8c0}-\\x{1f8c1}\\x{1fa75}-\\x{1fa77}\\x{1fa87}-\\x{1fa89}\\x{1fa8f}\\x{1faad}-\\x{1faaf}\\x{1fabb}-\\x{1fabf}"
	 "\\x{1fac6}\\x{1face}-\\x{1facf}\\x{1fada}-\\x{1fadc}\\x{1fadf}\\x{1fae8}-\\x{1fae9}\\x{1faf7}-\\x{1faf8}"
	 "\\x{1fbcb}-\\x{1fbef}"},
};

/* Names of sets that are made of others: what PCRE2 has for the whole (NULL: nothing), and the parts, which are looked up above. "!" is the
 * complement. */
static const struct { const char *names, *base, *parts; } unions[] = {
	{"l letter", "\\p{L}", "lu ll lt lm lo"}, {"lc casedletter", NULL, "lu ll lt"}, {"m mark combiningmark", "\\p{M}", "mn mc me"},
	{"n number", "\\p{N}", "nd nl no"}, {"p punctuation", "\\p{P}", "pc pd ps pe pi pf po"}, {"s symbol", "\\p{S}", "sm sc sk so"},
	{"z separator", "\\p{Z}", "zs zl zp"}, {"digit", NULL, "nd"}, {"alnum", NULL, "alphabetic nd"}, {"cntrl", NULL, "cc"},
	{"outerword", "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe", "alphabetic mn mc me nd pc"},
	{"word", "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}", "alphabetic mn mc me nd pc"}, {"punct", "\\p{P}\\p{S}", "pc pd ps pe pi pf po sm sc sk so"},
	{"c other", "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Z}", "!lu ll lt lm lo mn mc me nd nl no pc pd ps pe pi pf po sm sc sk so zs zl zp"},
	{"assigned", NULL, "lu ll lt lm lo mn mc me nd nl no pc pd ps pe pi pf po sm sc sk so zs zl zp cc cf co"},
	{"cn unassigned", NULL, "!lu ll lt lm lo mn mc me nd nl no pc pd ps pe pi pf po sm sc sk so zs zl zp cc cf co"},
};

/* Sets of fixed characters. */
static const struct { const char *names, *items; } fixed[] = {
	{"space whitespace", "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"},
	{"xdigit hexdigit asciihexdigit", "0-9A-Fa-f"}, {"ascii", "\\x00-\\x7f"}, {"any", "\\x{0}-\\x{10ffff}"},
	{"blank", "\\x09\\x20\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{202f}\\x{205f}\\x{3000}"},
};

/* Whether one of the names, divided by spaces, is the n bytes. */
static bool listed(const char *names, const char *name, size_t n)
{
	for (const char *p = names; *p; p += strspn(p, " ")) {
		size_t m = strcspn(p, " ");
		if (m == n && !memcmp(p, name, n))
			return true;
		p += m;
	}
	return false;
}

static bool append(char *to, size_t cap, const char *text)
{
	size_t at = strlen(to), n = strlen(text);

	if (n >= cap - at)
		return false;
	memcpy(to + at, text, n + 1);
	return true;
}

static bool append_property(const char *name, size_t n, bool base, char *to, size_t cap)
{
	for (size_t i = 0; i < sizeof properties / sizeof *properties; i++)
		if (listed(properties[i].names, name, n))
			return (!base || append(to, cap, properties[i].base)) && append(to, cap, properties[i].newer);
	return false;
}

static bool append_union(const char *base, const char *parts, char *to, size_t cap)
{
	if (base && !append(to, cap, base))
		return false;
	for (const char *p = parts + (*parts == '!'); *p; p += strspn(p, " ")) {
		size_t m = strcspn(p, " ");
		if (!append_property(p, m, !base, to, cap))
			return false;
		p += m;
	}
	return true;
}

/* As UAX #44 compares names: letters of any case, without spaces and hyphens. */
static bool plain_name(const char *name, size_t n, char *to, size_t cap, size_t *m)
{
	*m = 0;
	for (size_t i = 0; i < n; i++) {
		char c = name[i];
		if (c == ' ' || c == '_' || c == '-')
			continue;
		if (*m == cap)
			return false;
		to[(*m)++] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	return true;
}

bool moe_unicode_set(const char *name, size_t n, char *items, size_t cap, bool *complement)
{
	char plain[32];
	size_t m;

	*items = 0;
	*complement = false;
	if (!plain_name(name, n, plain, sizeof plain, &m))
		return false;
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
		if (listed(fixed[i].names, plain, m))
			return append(items, cap, fixed[i].items);
	for (size_t i = 0; i < sizeof unions / sizeof *unions; i++)
		if (listed(unions[i].names, plain, m)) {
			*complement = *unions[i].parts == '!';
			return append_union(unions[i].base, unions[i].parts, items, cap);
		}
	return append_property(plain, m, true, items, cap);
}
