/* Reads the parts of tokenizer.json around the model: normalizer, pre_tokenizer, post_processor, decoder. Each is one object with a type, or a
 * Sequence of such. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "text/text_priv.h"

enum { MAX_NESTED = 8, MAX_TEMPLATE = 64 };

static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* What an object of any of the four parts may say. */
struct part {
	const char *section;
	struct string type, behavior, content, prepend, replacement, scheme, pattern, delimiter;
	bool literal, invert, prefix_space, use_regex, digits, left, right, split;
	bool has_prefix_space, has_list, has_single, has_special;
	uint64_t start, stop;
	struct moe_json list, single, special;
	struct string unknown;          /* the first key that is not known */
};

enum field_kind { STRING, FLAG, NUMBER, LATER, PATTERN, NOTHING };

static const struct field {
	const char *key;
	enum field_kind kind;
	size_t at, has;                 /* in struct part */
} fields[] = {
#define AT(member) offsetof(struct part, member)
	{"type", STRING, AT(type), 0}, {"behavior", STRING, AT(behavior), 0}, {"content", STRING, AT(content), 0}, {"prepend", STRING, AT(prepend), 0},
	{"replacement", STRING, AT(replacement), 0}, {"prepend_scheme", STRING, AT(scheme), 0}, {"delimiter", STRING, AT(delimiter), 0},
	{"invert", FLAG, AT(invert), 0}, {"add_prefix_space", FLAG, AT(prefix_space), AT(has_prefix_space)}, {"use_regex", FLAG, AT(use_regex), 0},
	{"individual_digits", FLAG, AT(digits), 0}, {"strip_left", FLAG, AT(left), 0}, {"strip_right", FLAG, AT(right), 0}, {"split", FLAG, AT(split), 0},
	{"start", NUMBER, AT(start), 0}, {"stop", NUMBER, AT(stop), 0}, {"pattern", PATTERN, 0, 0},
	{"normalizers", LATER, AT(list), AT(has_list)}, {"pretokenizers", LATER, AT(list), AT(has_list)},
	{"processors", LATER, AT(list), AT(has_list)}, {"decoders", LATER, AT(list), AT(has_list)},
	{"single", LATER, AT(single), AT(has_single)}, {"special_tokens", LATER, AT(special), AT(has_special)},
	{"trim_offsets", NOTHING, 0, 0}, {"str_rep", NOTHING, 0, 0}, {"pair", NOTHING, 0, 0},        /* no matter for ids and text */
#undef AT
};

static enum moe_err unsupported(struct loader *l, const struct part *p, const char *what, struct string name)
{
	return moe_loader_fail(l, "%s%s%s \"%.*s\" is not supported", p->section, *what ? " " : "", what, (int)moe_min(name.n, 60), name.s);
}

static bool is(struct string s, const char *text) { return s.s && s.n == strlen(text) && !memcmp(s.s, text, s.n); }

/* {"Regex": "..."} or {"String": "..."}; of a CharDelimiterSplit and the like, a plain string. */
static enum moe_err read_pattern(struct loader *l, struct part *p, const char *field)
{
	MOE_TRY(moe_loader_enter(l, field, '{'));
	while (moe_json_key(&l->j)) {
		p->literal = moe_json_is(&l->j, "String");
		if (!p->literal && !moe_json_is(&l->j, "Regex"))
			return moe_loader_fail(l, "%s must be a Regex or a String", field);
		MOE_TRY(moe_loader_string(l, field, &p->pattern));
	}
	MOE_TRY(l->j.err);
	return p->pattern.n ? MOE_OK : moe_loader_fail(l, "%s is empty", field);
}

static enum moe_err read_field(struct loader *l, struct part *p, const struct field *f)
{
	char name[64];
	void *to = (char *)p + f->at;

	snprintf(name, sizeof name, "%s: %s", p->section, f->key);
	if (f->has)
		*(bool *)((char *)p + f->has) = true;
	switch (f->kind) {
	case STRING:
		return moe_loader_string(l, name, to);
	case FLAG:
		return moe_loader_bool(l, name, to);
	case NUMBER:
		return moe_loader_u64(l, name, to);
	case PATTERN:
		return read_pattern(l, p, name);
	case LATER:
		*(struct moe_json *)to = l->j;
		return moe_json_skip(&l->j);
	default:
		return moe_json_skip(&l->j);
	}
}

static enum moe_err read_part(struct loader *l, const char *section, struct part *p)
{
	*p = (struct part){.section = section, .use_regex = true, .split = true};
	MOE_TRY(moe_loader_enter(l, section, '{'));
	while (moe_json_key(&l->j)) {
		const struct field *f = NULL;
		for (size_t i = 0; i < sizeof fields / sizeof *fields && !f; i++)
			if (moe_json_is(&l->j, fields[i].key))
				f = &fields[i];
		if (f) {
			MOE_TRY(read_field(l, p, f));
			continue;
		}
		if (!p->unknown.s)
			MOE_TRY(moe_loader_keep(l, &p->unknown));
		MOE_TRY(moe_json_skip(&l->j));
	}
	MOE_TRY(l->j.err);
	return p->type.n ? MOE_OK : moe_loader_fail(l, "%s: an object without a type", section);
}

/* A part that is used. */
typedef enum moe_err use_part(struct loader *l, const struct part *p);

static enum moe_err use_checked(struct loader *l, const struct part *p, use_part *use)
{
	MOE_TRY(use(l, p));
	return p->unknown.s ? unsupported(l, p, "option", p->unknown) : MOE_OK;
}

/* A part, or Sequences of parts inside each other: the lists that are open are kept on a stack. */
static enum moe_err read_parts(struct loader *l, const char *section, use_part *use)
{
	struct moe_json open[MAX_NESTED];
	size_t n_open = 0;
	struct part p;

	if (moe_json_null(&l->j))
		return MOE_OK;
	for (;;) {
		MOE_TRY(read_part(l, section, &p));
		if (is(p.type, "Sequence")) {
			if (!p.has_list)
				return moe_loader_fail(l, "%s: a Sequence without its list", section);
			if (n_open == MAX_NESTED)
				return moe_loader_fail(l, "%s: Sequences nested deeper than 8", section);
			open[n_open++] = l->j;
			l->j = p.list;
			MOE_TRY(moe_loader_enter(l, section, '['));
		} else {
			MOE_TRY(use_checked(l, &p, use));
		}
		while (n_open && !moe_json_element(&l->j)) {
			MOE_TRY(l->j.err);
			l->j = open[--n_open];
		}
		if (!n_open)
			return MOE_OK;
	}
}

static enum moe_err too_many(struct loader *l, const char *section) { return moe_loader_fail(l, "%s: more than %d steps", section, MAX_STEPS); }

/* Patterns are compiled when they are needed first; that costs more than all the rest of a small file. */
static enum moe_err need_pattern(struct loader *l, const struct part *p)
{
	return p->pattern.n ? MOE_OK : moe_loader_fail(l, "%s: %s without a pattern", p->section, p->type.s);
}

/* ---- normalizer ---- */

static enum moe_err use_normalizer(struct loader *l, const struct part *p)
{
	static const struct { const char *type; struct normal_step step; } types[] = {
		{"NFC", {.kind = NORMAL_FORM, .compose = true}}, {"NFD", {.kind = NORMAL_FORM}}, {"NFKC", {.kind = NORMAL_FORM, .compose = true, .compatible = true}},
		{"NFKD", {.kind = NORMAL_FORM, .compatible = true}}, {"Prepend", {.kind = NORMAL_PREPEND}}, {"Replace", {.kind = NORMAL_REPLACE}}, {"Lowercase", {.kind = NORMAL_LOWER}},
		{"Strip", {.kind = NORMAL_STRIP}}, {"StripAccents", {.kind = NORMAL_ACCENTS}}, {"ByteLevel", {.kind = NORMAL_BYTES}},
	};
	struct normal_step *s = &l->t->normal_step[l->t->n_normal];

	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (!is(p->type, types[i].type))
			continue;
		if (l->t->n_normal == MAX_STEPS)
			return too_many(l, p->section);
		*s = types[i].step;
		s->left = p->left;
		s->right = p->right;
		s->content = s->kind == NORMAL_PREPEND ? p->prepend : p->content;
		s->regex = (struct regex){.pattern = p->pattern, .literal = p->literal};
		l->t->n_normal++;
		return s->kind == NORMAL_REPLACE ? need_pattern(l, p) : MOE_OK;
	}
	return unsupported(l, p, "", p->type);
}

enum moe_err moe_loader_normalizer(struct loader *l)
{
	return l->t->n_normal ? moe_loader_fail(l, "normalizer stands twice") : read_parts(l, "normalizer", use_normalizer);
}

/* ---- pre_tokenizer ---- */

static enum moe_err add_piece_step(struct loader *l, const struct part *p, struct piece_step s)
{
	if (l->t->n_piece == MAX_STEPS)
		return too_many(l, p->section);
	l->t->piece_step[l->t->n_piece++] = s;
	return MOE_OK;
}

static enum moe_err add_split(struct loader *l, const struct part *p, const char *regex, enum split_behavior behavior, bool invert)
{
	return add_piece_step(l, p, (struct piece_step){PIECE_SPLIT, behavior, invert, .regex.pattern = {regex, strlen(regex)}});
}

static enum moe_err use_byte_level(struct loader *l, const struct part *p)
{
	if (p->prefix_space)
		MOE_TRY(add_piece_step(l, p, (struct piece_step){.kind = PIECE_SPACE}));
	if (p->use_regex)
		MOE_TRY(add_split(l, p, gpt2_pattern, SPLIT_ISOLATED, false));
	return add_piece_step(l, p, (struct piece_step){.kind = PIECE_BYTES});
}

static enum moe_err read_behavior(struct loader *l, const struct part *p, enum split_behavior *b)
{
	static const char *const names[] = {[SPLIT_ISOLATED] = "Isolated", [SPLIT_REMOVED] = "Removed", [SPLIT_WITH_PREVIOUS] = "MergedWithPrevious",
					    [SPLIT_WITH_NEXT] = "MergedWithNext", [SPLIT_CONTIGUOUS] = "Contiguous"};

	for (*b = SPLIT_ISOLATED; *b <= SPLIT_CONTIGUOUS; ++*b)
		if (is(p->behavior, names[*b]))
			return MOE_OK;
	return p->behavior.s ? unsupported(l, p, "behavior", p->behavior) : moe_loader_fail(l, "%s: %s without a behavior", p->section, p->type.s);
}

static enum moe_err use_split(struct loader *l, const struct part *p)
{
	enum split_behavior b;

	MOE_TRY(read_behavior(l, p, &b));
	MOE_TRY(need_pattern(l, p));
	return add_piece_step(l, p, (struct piece_step){PIECE_SPLIT, b, p->invert, .regex = {.pattern = p->pattern, .literal = p->literal}});
}

/* Old files say add_prefix_space only: true is the default scheme, "always". */
static enum moe_err use_metaspace(struct loader *l, const struct part *p)
{
	struct piece_step s = {.kind = PIECE_METASPACE, .replacement = p->replacement};
	static const char *const names[] = {[PREPEND_ALWAYS] = "always", [PREPEND_FIRST] = "first", [PREPEND_NEVER] = "never"};
	bool good;

	if (!p->replacement.n || moe_utf8_step(p->replacement.s, p->replacement.n, &good) != p->replacement.n)
		return moe_loader_fail(l, "%s: replacement of Metaspace must be one character", p->section);
	while (p->scheme.s && s.scheme <= PREPEND_NEVER && !is(p->scheme, names[s.scheme]))
		s.scheme++;
	if (s.scheme > PREPEND_NEVER)
		return unsupported(l, p, "prepend_scheme", p->scheme);
	if (p->has_prefix_space && !p->prefix_space && s.scheme != PREPEND_NEVER)
		return moe_loader_fail(l, "%s: add_prefix_space is false, but prepend_scheme is not \"never\"", p->section);
	MOE_TRY(add_piece_step(l, p, s));
	if (!p->split)
		return MOE_OK;
	return add_piece_step(l, p, (struct piece_step){PIECE_SPLIT, SPLIT_WITH_NEXT, .regex = {.pattern = p->replacement, .literal = true}});
}

static enum moe_err use_punctuation(struct loader *l, const struct part *p)
{
	enum split_behavior b = SPLIT_ISOLATED;

	if (p->behavior.s)
		MOE_TRY(read_behavior(l, p, &b));
	return add_split(l, p, "[\\p{P}!-/:-@\\[-`{-~]", b, false);
}

static enum moe_err use_pre_tokenizer(struct loader *l, const struct part *p)
{
	if (is(p->type, "ByteLevel"))
		return use_byte_level(l, p);
	if (is(p->type, "Split"))
		return use_split(l, p);
	if (is(p->type, "Metaspace"))
		return use_metaspace(l, p);
	if (is(p->type, "Digits"))
		return add_split(l, p, "\\p{N}", p->digits ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, false);
	if (is(p->type, "Punctuation"))
		return use_punctuation(l, p);
	if (is(p->type, "WhitespaceSplit"))
		return add_split(l, p, "\\s", SPLIT_REMOVED, false);
	if (is(p->type, "Whitespace"))
		return add_split(l, p, "[\\w\\x{200c}\\x{200d}]+|[^\\w\\s\\x{200c}\\x{200d}]+", SPLIT_REMOVED, true);
	return unsupported(l, p, "", p->type);
}

enum moe_err moe_loader_pre_tokenizer(struct loader *l)
{
	return l->t->n_piece ? moe_loader_fail(l, "pre_tokenizer stands twice") : read_parts(l, "pre_tokenizer", use_pre_tokenizer);
}

/* ---- post_processor ---- */

/* The ids of one entry of special_tokens. */
static enum moe_err read_special_ids(struct loader *l, struct moe_ids *ids)
{
	uint64_t id;

	MOE_TRY(moe_loader_enter(l, "post_processor: an entry of special_tokens", '{'));
	while (moe_json_key(&l->j)) {
		if (!moe_json_is(&l->j, "ids")) {
			MOE_TRY(moe_json_skip(&l->j));
			continue;
		}
		MOE_TRY(moe_loader_enter(l, "post_processor: ids", '['));
		while (moe_json_element(&l->j)) {
			MOE_TRY(moe_loader_u64(l, "post_processor: an id", &id));
			if (id >= MAX_ID)
				return moe_loader_fail(l, "post_processor: the id %llu is above 16777215", (unsigned long long)id);
			MOE_TRY(moe_ids_add(ids, (int32_t)id, l->d));
		}
		MOE_TRY(l->j.err);
	}
	return l->j.err;
}

static enum moe_err add_special(struct loader *l, const struct part *p, const char *name, struct moe_ids *ids)
{
	struct moe_json here = l->j;
	bool found = false;

	if (p->has_special) {
		l->j = p->special;
		MOE_TRY(moe_loader_enter(l, "post_processor: special_tokens", '{'));
		while (!found && moe_json_key(&l->j)) {
			found = moe_json_is(&l->j, name);
			MOE_TRY(found ? read_special_ids(l, ids) : moe_json_skip(&l->j));
		}
		MOE_TRY(l->j.err);
		l->j = here;
	}
	return found ? MOE_OK : moe_loader_fail(l, "post_processor: \"%s\" of the template is not in special_tokens", name);
}

/* {"SpecialToken": {"id": name}} or {"Sequence": {"id": "A"}}: true in *text for the latter. */
static enum moe_err read_template_part(struct loader *l, struct string *id, bool *text)
{
	bool special = false;

	*id = (struct string){0};
	MOE_TRY(moe_loader_enter(l, "post_processor: a part of single", '{'));
	while (moe_json_key(&l->j)) {
		*text = moe_json_is(&l->j, "Sequence");
		special = moe_json_is(&l->j, "SpecialToken");
		if (!*text && !special)
			return moe_loader_fail(l, "post_processor: a part of single must be a SpecialToken or a Sequence");
		MOE_TRY(moe_loader_enter(l, "post_processor: a part of single", '{'));
		while (moe_json_key(&l->j)) {
			if (moe_json_is(&l->j, "id"))
				MOE_TRY(moe_loader_string(l, "post_processor: id", id));
			else
				MOE_TRY(moe_json_skip(&l->j));
		}
		MOE_TRY(l->j.err);
	}
	MOE_TRY(l->j.err);
	return id->s ? MOE_OK : moe_loader_fail(l, "post_processor: a part of single without an id");
}

static enum moe_err read_template(struct loader *l, const struct part *p, struct moe_ids *before, struct moe_ids *after)
{
	struct moe_json here = l->j;
	bool seen = false, text;
	struct string id;

	if (!p->has_single)
		return moe_loader_fail(l, "post_processor: TemplateProcessing without single");
	l->j = p->single;
	MOE_TRY(moe_loader_enter(l, "post_processor: single", '['));
	for (int n = 0; moe_json_element(&l->j); n++) {
		if (n == MAX_TEMPLATE)
			return moe_loader_fail(l, "post_processor: a template of more than 64 parts");
		MOE_TRY(read_template_part(l, &id, &text));
		if (text && (seen || !is(id, "A")))
			return moe_loader_fail(l, "post_processor: single must have the sequence A once, and no other");
		seen |= text;
		if (!text)
			MOE_TRY(add_special(l, p, id.s, seen ? after : before));
	}
	MOE_TRY(l->j.err);
	l->j = here;
	return seen ? MOE_OK : moe_loader_fail(l, "post_processor: single lacks the sequence A");
}

static enum moe_err append_ids(struct moe_ids *to, const struct moe_ids *more, struct moe_diag *d)
{
	for (size_t i = 0; i < more->n; i++)
		MOE_TRY(moe_ids_add(to, more->id[i], d));
	return MOE_OK;
}

/* A second template goes around the first. */
static enum moe_err use_template(struct loader *l, const struct part *p)
{
	struct moe_ids before = {0}, after = {0}, old = l->t->before;
	enum moe_err err = read_template(l, p, &before, &after);

	if (!err)
		err = append_ids(&before, &old, l->d);
	if (!err)
		err = append_ids(&l->t->after, &after, l->d);
	if (!err) {
		l->t->before = before;
		before = old;
	}
	free(before.id);
	free(after.id);
	return err;
}

static enum moe_err use_post_processor(struct loader *l, const struct part *p)
{
	if (is(p->type, "ByteLevel"))   /* it moves offsets only */
		return MOE_OK;
	return is(p->type, "TemplateProcessing") ? use_template(l, p) : unsupported(l, p, "", p->type);
}

enum moe_err moe_loader_post_processor(struct loader *l)
{
	return l->t->before.n || l->t->after.n ? moe_loader_fail(l, "post_processor stands twice") : read_parts(l, "post_processor", use_post_processor);
}

/* ---- decoder ---- */

static enum moe_err one_rune(struct loader *l, const struct part *p, struct string s, unsigned *rune)
{
	bool good;

	if (!s.n || moe_utf8_step(s.s, s.n, &good) != s.n)
		return moe_loader_fail(l, "%s: %.*s needs one character", p->section, (int)moe_min(p->type.n, 60), p->type.s);
	*rune = moe_utf8_get(s.s, s.n);
	return MOE_OK;
}

static enum moe_err use_decoder(struct loader *l, const struct part *p)
{
	static const struct { const char *type; enum decode_kind kind; } types[] = {{"ByteLevel", DECODE_BYTES}, {"Replace", DECODE_REPLACE},
		{"ByteFallback", DECODE_FALLBACK}, {"Fuse", DECODE_FUSE}, {"Strip", DECODE_STRIP}, {"Metaspace", DECODE_METASPACE}};
	struct decode_step s = {.content = p->content, .start = p->start, .stop = p->stop, .keep_first = is(p->scheme, "never"),
				.regex = {.pattern = p->pattern, .literal = p->literal}};
	size_t i = 0;

	while (i < sizeof types / sizeof *types && !is(p->type, types[i].type))
		i++;
	if (i == sizeof types / sizeof *types)
		return unsupported(l, p, "", p->type);
	if (l->t->n_decode == MAX_STEPS)
		return too_many(l, p->section);
	s.kind = types[i].kind;
	if (s.kind == DECODE_STRIP)
		MOE_TRY(one_rune(l, p, p->content, &s.rune));
	if (s.kind == DECODE_METASPACE)
		MOE_TRY(one_rune(l, p, p->replacement, &s.rune));
	if (s.kind == DECODE_REPLACE)
		MOE_TRY(need_pattern(l, p));
	l->t->decode_step[l->t->n_decode++] = s;
	return MOE_OK;
}

enum moe_err moe_loader_decoder(struct loader *l)
{
	if (l->t->decoder)
		return moe_loader_fail(l, "decoder stands twice");
	l->t->decoder = moe_json_peek(&l->j) == '{';
	return read_parts(l, "decoder", use_decoder);
}
