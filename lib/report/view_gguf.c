#include "report/view_gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { SHOWN = 8 };

static void print_element(FILE *f, struct moe_rd *r, enum moe_gguf_type type)
{
	size_t n;
	const char *s;

	switch (type) {
	case MOE_GGUF_STRING:
		s = moe_gguf_string(r, &n);
		fwrite(s, 1, n, f);
		break;
	case MOE_GGUF_BOOL: fputs(moe_gguf_int(r, type) ? "true" : "false", f); break;
	case MOE_GGUF_F32: case MOE_GGUF_F64: fprintf(f, "%.9g", moe_gguf_real(r, type)); break;
	default: fprintf(f, "%lld", (long long)moe_gguf_int(r, type));
	}
}

static void print_value(FILE *f, const struct moe_gguf_value *v)
{
	struct moe_rd r;

	moe_rd_init(&r, v->data, v->nbytes);
	for (uint64_t i = 0; i < v->n && i < SHOWN; i++) {
		if (i)
			fputs(", ", f);
		print_element(f, &r, v->type);
	}
	if (v->n > SHOWN)
		fprintf(f, ", ... (%llu in all)", (unsigned long long)v->n);
}

enum moe_err moe_view_gguf(struct moe_header *h, const struct moe_gguf *g, struct moe_diag *d)
{
	for (size_t i = 0; i < g->n_values; i++) {
		struct moe_meta m = {.key = moe_arena_string(&h->strings, g->value[i].key, strlen(g->value[i].key)), .key_nbytes = strlen(g->value[i].key)};
		char *text = NULL;
		size_t n = 0;
		FILE *f = open_memstream(&text, &n);
		if (f)
			print_value(f, &g->value[i]);
		if (f && !fclose(f))
			m.value = moe_arena_string(&h->strings, text, n);
		m.value_nbytes = n;
		free(text);
		if (!m.key || !m.value)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		MOE_TRY(moe_grow(&h->meta, &h->meta_cap, h->n_meta + 1, sizeof *h->meta, d));
		h->meta[h->n_meta++] = m;
	}
	return MOE_OK;
}
