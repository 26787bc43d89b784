#include "stats/labels.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/packer.h"
#include "image/probe.h"
#include "io/source.h"

enum { LIST_LIMIT = 1 << 30, MOST_PLACES = 1 << 20 };

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for labels"); }

void moe_labels_free(struct moe_labels *l)
{
	for (size_t i = 0; i < l->name.n; i++) {
		free(l->list[i].row.label);
		free(l->list[i].patch.label);
	}
	free(l->list);
	free(l->of_base);
	moe_group_names_free(&l->name);
	moe_group_names_free(&l->base);
	*l = (struct moe_labels){0};
}

/* ---- sequences by name ---- */

/* Bytes of the name without what follows the last dot of its last part. */
static size_t stem_length(const char *name, size_t n)
{
	for (size_t i = n; i && name[i - 1] != '/'; i--)
		if (name[i - 1] == '.' && i > 1 && name[i - 2] != '/')
			return i - 1;
	return n;
}

static const char *base_of(const char *name, size_t n)
{
	while (n && name[n - 1] != '/')
		n--;
	return name + n;
}

/* Lets the last part of a new name lead to its sequence, or to nothing when another one has it, too. */
static enum moe_err add_base(struct moe_labels *l, const char *name, size_t n, uint32_t index, struct moe_diag *d)
{
	const char *base = base_of(name, n);
	size_t known = l->base.n;
	uint32_t at;

	MOE_TRY(moe_grow(&l->of_base, &l->base_cap, known + 1, sizeof *l->of_base, d));
	MOE_TRY(moe_group_text(&l->base, base, n - (size_t)(base - name), &at, d));
	l->of_base[at] = l->base.n > known ? index : MOE_NO_GROUP;
	return MOE_OK;
}

/* The sequence of that name, made when it is new. */
static enum moe_err sequence_of(struct moe_labels *l, const char *name, size_t n, struct moe_labelled **out, struct moe_diag *d)
{
	size_t known = l->name.n;
	uint32_t index;

	MOE_TRY(moe_grow(&l->list, &l->cap, known + 1, sizeof *l->list, d));
	MOE_TRY(moe_group_text(&l->name, name, n, &index, d));
	if (l->name.n > known) {
		l->list[index] = (struct moe_labelled){.all = MOE_NO_GROUP};
		MOE_TRY(add_base(l, name, n, index, d));
	}
	*out = &l->list[index];
	return MOE_OK;
}

static const struct moe_labelled *find(const struct moe_labels *l, const char *name)
{
	size_t n = strlen(name), stem = stem_length(name, n), length[2] = {n, stem};
	const char *base = base_of(name, n);
	uint32_t at;

	for (int i = 0; i < 2; i++)
		if ((at = moe_group_find(&l->name, name, length[i])) != MOE_NO_GROUP)
			return &l->list[at];
	for (int i = 0; i < 2; i++)
		if ((at = moe_group_find(&l->base, base, length[i] - (size_t)(base - name))) != MOE_NO_GROUP)
			return l->of_base[at] == MOE_NO_GROUP ? NULL : &l->list[l->of_base[at]];
	return NULL;
}

static uint32_t label_of(const struct moe_label_list *l, uint64_t place) { return place < l->n ? l->label[place] : MOE_NO_GROUP; }

bool moe_labels_rows(const struct moe_labels *l, const struct moe_trace_block *b, uint32_t *group)
{
	const struct moe_labelled *x = b->name ? find(l, b->name) : NULL;

	for (size_t r = 0; r < b->rows; r++) {
		group[r] = x ? label_of(&x->row, b->start + r) : MOE_NO_GROUP;
		if (x && group[r] == MOE_NO_GROUP && b->image[r] >= 0 && b->patch[r] >= 0)
			group[r] = label_of(&x->patch, (uint64_t)b->patch[r]);
		if (x && group[r] == MOE_NO_GROUP)
			group[r] = x->all;
	}
	return x != NULL;
}

/* Room for n labels. */
static enum moe_err room_for(struct moe_label_list *l, size_t n, struct moe_diag *d)
{
	size_t cap = l->n;

	MOE_TRY(moe_grow(&l->label, &cap, n, sizeof *l->label, d));
	for (; l->n < cap; l->n++)
		l->label[l->n] = MOE_NO_GROUP;
	return MOE_OK;
}

/* ---- a list ---- */

/* A whole number below MOST_PLACES. */
static bool read_place(const char *s, const char *end, size_t *out)
{
	*out = 0;
	if (s == end)
		return false;
	for (; s < end && *s >= '0' && *s <= '9' && *out <= MOST_PLACES; s++)
		*out = *out * 10 + (size_t)(*s - '0');
	return s == end && *out < MOST_PLACES;
}

static enum moe_err read_line(struct moe_labels *l, struct moe_group_names *g, const char *line, const char *end, struct moe_diag *d)
{
	const char *tab = memchr(line, '\t', (size_t)(end - line)), *second = tab ? memchr(tab + 1, '\t', (size_t)(end - tab - 1)) : NULL;
	struct moe_labelled *x;
	uint32_t label;
	struct moe_label_list *list;
	bool row = second && tab[1] == '@';
	size_t place = 0;

	if (!tab || tab == line || (second && memchr(second + 1, '\t', (size_t)(end - second - 1))))
		return moe_fail(d, MOE_EINPUT, "expected name, tab, label, or name, tab, patch or @row, tab, label");
	if (second && !read_place(tab + 1 + row, second, &place))
		return moe_fail(d, MOE_EINPUT, "\"%.*s\" is not the number of a %s", (int)(second - tab - 1 < 40 ? second - tab - 1 : 40), tab + 1,
				row ? "row" : "patch");
	MOE_TRY(sequence_of(l, line, (size_t)(tab - line), &x, d));
	tab = second ? second : tab;
	MOE_TRY(moe_group_text(g, tab + 1, (size_t)(end - tab - 1), &label, d));
	if (!second) {
		x->all = label;
		return MOE_OK;
	}
	list = row ? &x->row : &x->patch;
	if (place >= list->n)
		MOE_TRY(room_for(list, place + 1, d));
	list->label[place] = label;
	return MOE_OK;
}

enum moe_err moe_labels_list(struct moe_labels *l, struct moe_group_names *g, const char *path, struct moe_diag *d)
{
	char *bytes;
	size_t n, number = 1;
	enum moe_err err = moe_read_file(path, LIST_LIMIT, &bytes, &n, d);

	if (err)
		return err;
	for (const char *line = bytes, *end, *next; !err && line < bytes + n; line = next, number++) {
		struct moe_diag why = {0};
		end = memchr(line, '\n', (size_t)(bytes + n - line));
		end = end ? end : bytes + n;
		next = end + 1;
		end -= end > line && end[-1] == '\r';
		if (end > line)
			err = read_line(l, g, line, end, &why);
		if (err) {
			moe_fail(d, err, "line %zu: %s", number, why.text);
			moe_diag_path(d, path);
		}
	}
	free(bytes);
	return err;
}

/* ---- samples ---- */

bool moe_label_choice_known(const char *what, bool *needs_fit)
{
	*needs_fit = !strcmp(what, "box") || (!strncmp(what, "box:", 4) && what[4]);
	return *needs_fit || !strcmp(what, "kind") || (!strncmp(what, "tag:", 4) && what[4]);
}

static const char *value_of(const struct moe_tag *tag, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(tag[i].name, name))
			return tag[i].value;
	return NULL;
}

/* A label as it is shown: words of a vocabulary begin with a space. */
static enum moe_err group_of(struct moe_group_names *g, const char *label, uint32_t *out, struct moe_diag *d)
{
	*out = MOE_NO_GROUP;
	if (!label)
		return MOE_OK;
	label += *label == ' ';
	return *label ? moe_group_text(g, label, strlen(label), out, d) : MOE_OK;
}

static enum moe_err label_patches(struct moe_labelled *x, struct moe_group_names *g, const struct moe_sample *s, const struct moe_label_choice *c,
				  struct moe_diag *d)
{
	static const struct moe_picture_limits limits = {.max_pixels = UINT64_MAX, .max_side = UINT32_MAX};
	const char *attribute = c->what[3] ? c->what + 4 : NULL;
	struct moe_picture_head head;
	uint32_t w, h;
	int32_t *box_of;
	size_t grid, n;
	enum moe_err err = MOE_OK;

	if (!s->labelled || !s->picture)
		return MOE_OK;
	MOE_TRY(moe_picture_probe(&head, s->picture, s->n_picture, &limits, d));
	w = head.orientation > 4 ? head.height : head.width;
	h = head.orientation > 4 ? head.width : head.height;
	grid = moe_fit_choose(c->fit, w, h);
	n = moe_fit_n_patches(c->fit, grid);
	box_of = moe_calloc(n, sizeof *box_of);
	if (!box_of)
		return no_memory(d);
	moe_box_patches(box_of, c->fit, grid, w, h, s->box, s->n_boxes);
	err = room_for(&x->patch, n, d);
	for (size_t i = 0; !err && i < n; i++) {
		const struct moe_box *b = box_of[i] >= 0 ? &s->box[box_of[i]] : NULL;
		const char *label = b ? attribute ? value_of(b->attribute, b->n_attributes, attribute) : b->label : box_of[i] == MOE_PATCH_UNTOUCHED ?
			"nothing" : NULL;
		err = group_of(g, label, &x->patch.label[i], d);
	}
	free(box_of);
	return err;
}

static enum moe_err take_sample(struct moe_labels *l, struct moe_group_names *g, const struct moe_sample *s, const struct moe_label_choice *c,
				struct moe_diag *d)
{
	struct moe_labelled *x;

	MOE_TRY(sequence_of(l, s->name, strlen(s->name), &x, d));
	if (!strncmp(c->what, "box", 3))
		return label_patches(x, g, s, c, d);
	return group_of(g, *c->what == 't' ? value_of(s->tag, s->n_tags, c->what + 4) : s->kind, &x->all, d);
}

static enum moe_err take_item(struct moe_labels *l, struct moe_group_names *g, struct moe_item *item, const struct moe_label_choice *c, struct moe_diag *d)
{
	struct moe_sample s = {0};
	struct moe_diag failure = {0};
	enum moe_err err = moe_sample_read(&s, item, &failure);

	if (!err)
		err = take_sample(l, g, &s, c, &failure);
	moe_sample_clear(&s);
	if (err == MOE_EINPUT) {
		moe_diag_path(&failure, item->name);
		if (c->failed)
			c->failed(c->self, &failure);
		return MOE_OK;
	}
	return err ? moe_fail(d, err, "%s", failure.text) : MOE_OK;
}

enum moe_err moe_labels_samples(struct moe_labels *l, struct moe_group_names *g, const char *path, const struct moe_label_choice *choice, struct moe_diag *d)
{
	struct moe_shard_options o = {.no_sandbox = choice->no_sandbox};
	struct moe_item item;
	struct moe_shard *s;
	enum moe_err err;

	MOE_TRY(moe_shard_open(&s, path, &o, d));
	while (!(err = moe_shard_next(s, &item, d))) {
		err = take_item(l, g, &item, choice, d);
		moe_item_clear(&item);
		if (err)
			break;
	}
	moe_shard_close(s);
	return err == MOE_END ? MOE_OK : err;
}
