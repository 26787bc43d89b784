#include "stage/row_choice.h"

#include <string.h>

static bool parse_number(const char **p, const char *end, uint64_t *out)
{
	const char *from = *p;

	for (*out = 0; *p < end && **p >= '0' && **p <= '9'; ++*p)
		if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, (uint64_t)(**p - '0'), out))
			return false;
	return *p > from;
}

static bool parse_range(struct moe_row_choice *c, const char *p, const char *end)
{
	uint64_t first, last;

	if (c->n == MOE_ROW_RANGES || !parse_number(&p, end, &first))
		return false;
	last = first;
	if (p < end && *p == '-') {
		last = UINT64_MAX;
		if (++p < end && !parse_number(&p, end, &last))
			return false;
	}
	c->range[c->n].first = first;
	c->range[c->n++].last = last;
	return p == end && first <= last;
}

bool moe_row_choice_parse(struct moe_row_choice *c, const char *text)
{
	const struct { const char *name; bool *to; } word[] = {{"all", &c->all}, {"last", &c->last}, {"text", &c->text}, {"image", &c->image}};

	*c = (struct moe_row_choice){0};
	for (const char *p = text, *end;; p = end + 1) {
		bool known = false;
		end = p + strcspn(p, ",");
		for (size_t i = 0; i < sizeof word / sizeof *word; i++)
			if ((size_t)(end - p) == strlen(word[i].name) && !memcmp(p, word[i].name, (size_t)(end - p)))
				known = *word[i].to = true;
		if (!known && !parse_range(c, p, end))
			return false;
		if (!*end)
			return true;
	}
}

bool moe_row_chosen(const struct moe_row_choice *c, uint64_t row, uint8_t modality, bool last)
{
	bool chosen = c->all || (c->last && last) || (c->text && !modality) || (c->image && modality);

	for (size_t i = 0; i < c->n && !chosen; i++)
		chosen = c->range[i].first <= row && row <= c->range[i].last;
	return chosen;
}
