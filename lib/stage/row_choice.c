#include "stage/row_choice.h"

#include <string.h>

#include "base/range.h"

static bool parse_range(struct moe_row_choice *c, const char *p, const char *end)
{
	if (c->n == MOE_ROW_RANGES || !moe_range_read(&p, end, UINT64_MAX, &c->range[c->n].first, &c->range[c->n].last))
		return false;
	c->n++;
	return p == end;
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
