#include "model/names.h"

#include <stdio.h>
#include <string.h>

/* Appends the pattern, filled in up to its ':'; false when it does not fit, or has a brace that is none of the three. */
static bool fill_in(const char *pattern, struct moe_place at, char *out, size_t cap, size_t *length)
{
	size_t n = *length;

	for (const char *p = pattern; n < cap && *p && *p != ':'; p++) {
		int wrote;
		if (*p != '{' && *p != '}')
			wrote = snprintf(out + n, cap - n, "%c", *p);
		else if (!strncmp(p, "{L}", 3) && at.layer >= 0)
			wrote = snprintf(out + n, cap - n, "%lld", (long long)at.layer);
		else if (!strncmp(p, "{E}", 3) && at.expert >= 0)
			wrote = snprintf(out + n, cap - n, "%lld", (long long)at.expert);
		else if (!strncmp(p, "{N}", 3) && at.name)
			wrote = snprintf(out + n, cap - n, "%s", at.name);
		else
			return false;
		n += (size_t)wrote;
		if (*p == '{')
			p += 2;
	}
	*length = n;
	return n < cap;
}

static bool expand(const char *prefix, const char *pattern, struct moe_place at, char *out, size_t cap)
{
	size_t n = 0;

	*out = 0;
	return fill_in(prefix, at, out, cap, &n) && fill_in(pattern, at, out, cap, &n);
}

/* "I/N" or "I%N". */
static bool read_part(const char *text, struct moe_where *w)
{
	unsigned long long part, parts;
	char kind;
	int n = 0;

	if (sscanf(text, "%2llu%c%2llu%n", &part, &kind, &parts, &n) != 3 || text[n] || (kind != '/' && kind != '%') || !parts || part >= parts)
		return false;
	w->part = part;
	w->parts = parts;
	w->interleaved = kind == '%';
	return true;
}

/* What stands behind the name: ":AXES" or ":AXES:PART". */
static bool read_layout(const char *pattern, struct moe_where *w)
{
	static const char *const axes[] = {"", "o", "i", "oi", "io", "eoi", "eio"};
	const char *p = strchr(pattern, ':'), *end;

	w->axes = MOE_AXES_NONE;
	w->part = 0;
	w->parts = 1;
	w->interleaved = false;
	if (!p)
		return true;
	end = strchrnul(++p, ':');
	for (int i = MOE_AXES_O; i <= MOE_AXES_EIO; i++)
		if (strlen(axes[i]) == (size_t)(end - p) && !memcmp(axes[i], p, (size_t)(end - p)))
			w->axes = (enum moe_axes)i;
	return w->axes && (!*end || read_part(end + 1, w));
}

static size_t count(const json_t *entry) { return json_is_array(entry) ? json_array_size(entry) : json_is_string(entry); }

static const char *pattern(const json_t *entry, size_t i)
{
	return json_string_value(json_is_array(entry) ? json_array_get(entry, i) : entry);
}

/* How many of the group's logical names the checkpoint has under the prefix, in the first layer and expert. */
static size_t score(const struct moe_checkpoint *weights, json_t *names, const char *prefix)
{
	const char *key;
	json_t *entry;
	size_t found = 0;

	json_object_foreach(names, key, entry) {
		bool here = false;
		for (size_t i = 0; i < count(entry) && !here; i++) {
			char name[512];
			const char *p = pattern(entry, i);
			here = p && expand(prefix, p, (struct moe_place){0, 0, ""}, name, sizeof name) && moe_checkpoint_find(weights, name, NULL);
		}
		found += here;
	}
	return found;
}

static const char *choose_prefix(const struct moe_names *n, const char *group, json_t *names)
{
	json_t *list = json_object_get(json_object_get(n->spec->doc, "prefixes"), group);
	const char *best = pattern(list, 0);
	size_t most = 0;

	for (size_t i = 0; n->weights && i < count(list); i++) {
		const char *prefix = pattern(list, i);
		size_t found = prefix ? score(n->weights, names, prefix) : 0;
		if (found > most) {
			most = found;
			best = prefix;
		}
	}
	return best ? best : "";
}

enum moe_err moe_names_init(struct moe_names *n, const struct moe_spec *s, const struct moe_checkpoint *weights, struct moe_diag *d)
{
	const char *group;
	json_t *names, *tensors = json_object_get(s->doc, "tensors");

	*n = (struct moe_names){.spec = s, .weights = weights};
	json_object_foreach(tensors, group, names) {
		if (!json_is_object(names))
			return moe_fail(d, MOE_EINPUT, "family %s: tensors.%s: expected a group of names (text, head, tower, projector)", s->family, group);
		if (n->n_groups == MOE_MAX_GROUPS)
			return moe_fail(d, MOE_EINPUT, "family %s: more than %d groups of tensors", s->family, MOE_MAX_GROUPS);
		n->group[n->n_groups].group = group;
		n->group[n->n_groups].names = names;
		n->group[n->n_groups++].prefix = choose_prefix(n, group, names);
	}
	return MOE_OK;
}

/* The patterns of a logical name and the prefix of its group; NULL when no group has it. */
static json_t *entry_of(const struct moe_names *n, const char *logical, const char **prefix)
{
	for (size_t i = 0; i < n->n_groups; i++) {
		json_t *entry = json_object_get(n->group[i].names, logical);
		if (entry) {
			*prefix = n->group[i].prefix;
			return entry;
		}
	}
	return NULL;
}

bool moe_names_has(const struct moe_names *n, const char *logical)
{
	const char *prefix;

	return entry_of(n, logical, &prefix);
}

static enum moe_err no_pattern(const struct moe_names *n, const char *pattern, const char *logical, struct moe_diag *d)
{
	return moe_fail(d, MOE_EINPUT, "family %s: tensors: \"%s\" is not a pattern for %s (NAME, NAME:AXES or NAME:AXES:PART with AXES o, i, oi, io, eoi or eio "
			"and PART as 0/2 or 0%%2)", n->spec->family, pattern ? pattern : "?", logical);
}

/* The i-th pattern of an entry, filled in. */
static enum moe_err fill_where(const struct moe_names *n, const char *logical, const char *prefix, const json_t *entry, size_t i, struct moe_place at,
			       struct moe_where *out, struct moe_diag *d)
{
	const char *p = pattern(entry, i);

	return p && read_layout(p, out) && expand(prefix, p, at, out->name, sizeof out->name) ? MOE_OK : no_pattern(n, p, logical, d);
}

enum moe_err moe_names_place(const struct moe_names *n, const char *logical, struct moe_place like, struct moe_place at, struct moe_where *out,
			     struct moe_diag *d)
{
	const char *prefix = "";
	json_t *entry = entry_of(n, logical, &prefix);
	size_t chosen = 0;

	for (size_t i = count(entry); n->weights && i-- > 0;) {
		MOE_TRY(fill_where(n, logical, prefix, entry, i, like, out, d));
		if (moe_checkpoint_find(n->weights, out->name, NULL))
			chosen = i;
	}
	if (!count(entry))
		return moe_fail(d, MOE_EINPUT, "family %s names no tensor for \"%s\"", n->spec->family, logical);
	out->tensor = NULL;
	out->index = 0;
	return fill_where(n, logical, prefix, entry, chosen, at, out, d);
}

unsigned moe_where_shape(const struct moe_where *w, uint64_t experts, uint64_t o, uint64_t i, uint64_t shape[3])
{
	bool stacked = w->axes >= MOE_AXES_EOI, inputs_first = w->axes == MOE_AXES_IO || w->axes == MOE_AXES_EIO;
	unsigned n = 0;

	if (w->axes == MOE_AXES_I && o == 1) {
		shape[n++] = i;
		return n;
	}
	if (stacked)
		shape[n++] = experts;
	shape[n++] = inputs_first ? i : o * w->parts;
	shape[n++] = inputs_first ? o * w->parts : i;
	return n;
}

enum moe_err moe_names_find(const struct moe_names *n, const char *logical, struct moe_place at, struct moe_where *out, struct moe_diag *d)
{
	const char *prefix = "";
	json_t *entry = entry_of(n, logical, &prefix);
	char tried[600] = "";
	size_t used = 0;

	if (!count(entry))
		return moe_fail(d, MOE_EINPUT, "family %s names no tensor for \"%s\"", n->spec->family, logical);
	for (size_t i = 0; i < count(entry); i++) {
		MOE_TRY(fill_where(n, logical, prefix, entry, i, at, out, d));
		out->tensor = n->weights ? moe_checkpoint_find(n->weights, out->name, &out->index) : NULL;
		if (out->tensor || !n->weights)
			return MOE_OK;
		if (used < sizeof tried)
			used += (size_t)snprintf(tried + used, sizeof tried - used, "%s\"%s\"", i ? ", also as " : "", out->name);
	}
	return moe_fail(d, MOE_EINPUT, "tensor %s is missing", tried);
}
