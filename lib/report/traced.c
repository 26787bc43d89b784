#include "report/traced.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/modality.h"
#include "report/escape.h"
#include "report/view.h"

enum { MOST_SHOWN = 4 };        /* experts of a layer in the text */

struct moe_traced {
	FILE *f;
	enum moe_traced_form form;
	bool begun;                     /* a line has been printed */
	struct moe_trace_info info;
	struct moe_arena arena;
	/* Of the member, for the text. */
	uint64_t sequences, tokens, generated, modality[MOE_N_MODALITIES];
	uint64_t *count;                /* [n_layers][experts] */
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for a trace"); }

enum moe_err moe_traced_new(struct moe_traced **out, FILE *f, enum moe_traced_form form, struct moe_diag *d)
{
	*out = calloc(1, sizeof **out);
	if (!*out)
		return no_memory(d);
	(*out)->f = f;
	(*out)->form = form;
	return MOE_OK;
}

void moe_traced_free(struct moe_traced *v)
{
	if (!v)
		return;
	moe_trace_info_free(&v->info);
	moe_arena_free(&v->arena);
	free(v->count);
	free(v);
}

/* ---- lines ---- */

/* Numbers of a trace have the 11 bits of binary16, which five digits bring back. */
static void print_half(FILE *f, float v)
{
	if (isinf(v))
		fputs("null", f);
	else
		fprintf(f, "%.5g", (double)v);
}

static void print_halves(FILE *f, const char *key, const float *v, size_t n)
{
	fprintf(f, ",\"%s\":[", key);
	for (size_t i = 0; i < n; i++) {
		if (i)
			fputc(',', f);
		print_half(f, v[i]);
	}
	fputc(']', f);
}

static uint64_t step_of(const struct moe_trace_block *b, size_t row) { return b->step ? b->step + row : 0; }

static void print_index(FILE *f, const char *key, int32_t v)
{
	if (v < 0)
		fprintf(f, ",\"%s\":null", key);
	else
		fprintf(f, ",\"%s\":%d", key, v);
}

/* A token in a layer; `name` is JSON. */
static void print_json_row(const struct moe_traced *v, const struct moe_trace_block *b, const char *name, size_t l, size_t row)
{
	size_t at = l * b->rows + row, k = v->info.k, e = v->info.experts, n = moe_trace_chosen(b->expert + at * k, k);
	FILE *f = v->f;

	fprintf(f, "{\"layer\":%zu,\"seq\":%llu,\"name\":%s,\"row\":%llu,\"step\":%llu", v->info.layer[l], (unsigned long long)b->seq, name,
		(unsigned long long)(b->start + row), (unsigned long long)step_of(b, row));
	print_index(f, "token", b->token[row]);
	fprintf(f, ",\"modality\":\"%s\"", moe_modality_name(b->modality[row]));
	print_index(f, "image", b->image[row]);
	print_index(f, "patch", b->patch[row]);
	fputs(",\"position\":[", f);
	for (size_t a = 0; a < b->axes; a++)
		fprintf(f, a ? ",%d" : "%d", b->position[a * b->rows + row]);
	fputs("],\"experts\":[", f);
	for (size_t i = 0; i < n; i++)
		fprintf(f, i ? ",%u" : "%u", b->expert[at * k + i]);
	fputc(']', f);
	if (b->weight)
		print_halves(f, "weights", b->weight + at * k, n);
	if (b->logit)
		print_halves(f, "logits", b->logit + at * e, e);
	if (b->compared)
		print_halves(f, "compared", b->compared + at * e, e);
	if (b->depth)
		fprintf(f, ",\"depth\":%u", b->depth[at]);
	fputs("}\n", f);
}

static enum moe_err print_json(const struct moe_traced *v, const struct moe_trace_block *b, struct moe_diag *d)
{
	json_t *text = b->name ? moe_json_text(b->name, strlen(b->name)) : json_null();
	char *name = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;

	json_decref(text);
	if (!name)
		return no_memory(d);
	for (size_t row = 0; row < b->rows; row++)
		for (size_t l = 0; l < v->info.n_layers; l++)
			print_json_row(v, b, name, l, row);
	free(name);
	return MOE_OK;
}

static void print_json_counts(const struct moe_traced *v, const struct moe_trace_block *b)
{
	for (size_t i = 0; i < v->info.n_layers * v->info.experts; i++)
		fprintf(v->f, "{\"layer\":%zu,\"expert\":%zu,\"count\":%llu}\n", v->info.layer[i / v->info.experts], i % v->info.experts,
			(unsigned long long)b->count[i]);
}

static void print_tsv_number(FILE *f, const float *v)
{
	if (v)
		fprintf(f, "\t%.5g", (double)*v);
	else
		fputs("\t-", f);
}

/* Choice number `rank` of a token in a layer. */
static void print_tsv_choice(const struct moe_traced *v, const struct moe_trace_block *b, size_t l, size_t row, size_t rank)
{
	size_t at = l * b->rows + row, k = v->info.k;
	unsigned expert = b->expert[at * k + rank];

	fprintf(v->f, "%zu\t%llu\t%llu\t%llu\t%d\t%s\t%d\t%d\t%zu\t%u", v->info.layer[l], (unsigned long long)b->seq, (unsigned long long)(b->start + row),
		(unsigned long long)step_of(b, row), b->token[row], moe_modality_name(b->modality[row]), b->image[row], b->patch[row], rank, expert);
	print_tsv_number(v->f, b->weight ? b->weight + at * k + rank : NULL);
	print_tsv_number(v->f, b->logit ? b->logit + at * v->info.experts + expert : NULL);
	fputc('\t', v->f);
	if (b->name)
		moe_print_escaped(v->f, b->name, strlen(b->name));
	else
		fputc('-', v->f);
	fputc('\n', v->f);
}

static void print_tsv(const struct moe_traced *v, const struct moe_trace_block *b)
{
	for (size_t row = 0; row < b->rows; row++)
		for (size_t l = 0; l < v->info.n_layers; l++)
			for (size_t i = 0, n = moe_trace_chosen(b->expert + (l * b->rows + row) * v->info.k, v->info.k); i < n; i++)
				print_tsv_choice(v, b, l, row, i);
}

static void print_tsv_counts(const struct moe_traced *v, const struct moe_trace_block *b)
{
	for (size_t i = 0; i < v->info.n_layers * v->info.experts; i++)
		fprintf(v->f, "%zu\t%zu\t%llu\n", v->info.layer[i / v->info.experts], i % v->info.experts, (unsigned long long)b->count[i]);
}

/* ---- text ---- */

/* "0-3, 5" */
static void print_layers(const struct moe_traced *v)
{
	const size_t *l = v->info.layer;

	for (size_t i = 0, n; i < v->info.n_layers; i += n) {
		for (n = 1; i + n < v->info.n_layers && l[i + n] == l[i] + n; n++)
			;
		fprintf(v->f, i ? ", %zu" : "%zu", l[i]);
		if (n > 1)
			fprintf(v->f, "-%zu", l[i] + n - 1);
	}
}

static void print_head(const struct moe_traced *v, const struct moe_frame *head)
{
	const struct moe_trace_info *i = &v->info;
	FILE *f = v->f;

	fprintf(f, "trace of routing: %zu layer%s (", i->n_layers, i->n_layers > 1 ? "s" : "");
	print_layers(v);
	fprintf(f, "), %zu experts", i->experts);
	if (i->k)
		fprintf(f, ", top %zu", i->k);
	if (i->score != MOE_TRACE_UNKNOWN)
		fprintf(f, ", %s%s", moe_trace_score_name(i->score), i->renormalise ? ", weights add up to 1" : "");
	fprintf(f, "; detail %s\n", moe_trace_detail_name(i->detail));
	for (size_t m = 0; m < head->h.n_meta; m++) {
		const char *key = head->h.meta[m].key;
		if (strcmp(key, "moe.kind") && strcmp(key, "moe.crc32") && strcmp(key, "moe.trace") && strcmp(key, "moe.stream"))
			moe_view_key(f, &head->h.meta[m]);
	}
}

static void add_block(struct moe_traced *v, const struct moe_trace_block *b)
{
	const struct moe_trace_info *i = &v->info;

	v->sequences += b->rows && !b->start;
	v->tokens += b->rows;
	v->generated += b->step ? b->rows : 0;
	for (size_t r = 0; r < b->rows; r++)
		v->modality[moe_modality_of(b->modality[r])]++;
	for (size_t at = 0; at < i->n_layers * b->rows * i->k && b->rows; at++)
		if (b->expert[at] != MOE_NO_EXPERT)
			v->count[at / (b->rows * i->k) * i->experts + b->expert[at]]++;
	for (size_t at = 0; at < i->n_layers * i->experts && b->count; at++)
		v->count[at] += b->count[at];
}

/* The expert behind `after` in the order of falling counts (ties: rising numbers); `experts`: none. after = experts: the first. */
static size_t next_expert(const uint64_t *count, size_t experts, size_t after)
{
	size_t best = experts;

	for (size_t e = 0; e < experts; e++) {
		bool behind = after == experts || count[e] < count[after] || (count[e] == count[after] && e > after);
		if (behind && (best == experts || count[e] > count[best]))
			best = e;
	}
	return best;
}

static void print_layer(const struct moe_traced *v, size_t l)
{
	size_t experts = v->info.experts, unused = 0, e = experts;
	const uint64_t *count = v->count + l * experts;
	uint64_t choices = 0;

	for (size_t i = 0; i < experts; i++) {
		choices += count[i];
		unused += !count[i];
	}
	fprintf(v->f, "layer %-4zu %10llu choices, %zu unused; most to", v->info.layer[l], (unsigned long long)choices, unused);
	for (size_t i = 0; i < MOST_SHOWN && (e = next_expert(count, experts, e)) < experts && count[e]; i++)
		fprintf(v->f, "%s %zu (%.1f%%)", i ? "," : "", e, 100 * (double)count[e] / (double)choices);
	if (!choices)
		fputs(" none", v->f);
	fputc('\n', v->f);
}

static void print_sums(const struct moe_traced *v)
{
	if (v->info.detail != MOE_TRACE_COUNTS) {
		fprintf(v->f, "%llu sequence%s, %llu tokens:", (unsigned long long)v->sequences, v->sequences == 1 ? "" : "s", (unsigned long long)v->tokens);
		for (unsigned m = 0, n = 0; m < MOE_N_MODALITIES; m++)
			if (v->modality[m])
				fprintf(v->f, "%s %llu %s", n++ ? "," : "", (unsigned long long)v->modality[m], moe_modality_name(m));
		fprintf(v->f, "; %llu generated\n", (unsigned long long)v->generated);
	}
	for (size_t l = 0; l < v->info.n_layers; l++)
		print_layer(v, l);
}

/* ---- frames ---- */

static enum moe_err begin(struct moe_traced *v, const struct moe_frame *head, struct moe_diag *d)
{
	moe_trace_info_free(&v->info);
	free(v->count);
	v->count = NULL;
	MOE_TRY(moe_trace_info_read(&v->info, head, d));
	v->sequences = v->tokens = v->generated = 0;
	memset(v->modality, 0, sizeof v->modality);
	if (v->form == MOE_TRACED_TEXT) {
		v->count = moe_calloc(v->info.n_layers * v->info.experts, sizeof *v->count);
		if (!v->count)
			return no_memory(d);
		print_head(v, head);
	} else if (v->form == MOE_TRACED_TSV && !v->begun) {
		fputs(v->info.detail == MOE_TRACE_COUNTS ? "layer\texpert\tcount\n"
			: "layer\tseq\trow\tstep\ttoken\tmodality\timage\tpatch\trank\texpert\tweight\tlogit\tname\n", v->f);
	}
	v->begun = true;
	return MOE_OK;
}

static enum moe_err show(struct moe_traced *v, struct moe_frame *frame, struct moe_diag *d)
{
	struct moe_trace_block b;

	moe_arena_reset(&v->arena);
	MOE_TRY(moe_trace_block_read(&b, frame, &v->info, &v->arena, d));
	if (v->form == MOE_TRACED_TEXT)
		add_block(v, &b);
	else if (v->form == MOE_TRACED_JSON && b.count)
		print_json_counts(v, &b);
	else if (v->form == MOE_TRACED_JSON)
		return print_json(v, &b, d);
	else if (b.count)
		print_tsv_counts(v, &b);
	else
		print_tsv(v, &b);
	return MOE_OK;
}

enum moe_err moe_traced_frame(struct moe_traced *v, struct moe_frame *frame, struct moe_diag *d)
{
	switch (frame->kind) {
	case MOE_KIND_HEAD:
		MOE_TRY(begin(v, frame, d));
		break;
	case MOE_KIND_TRACE:
		MOE_TRY(show(v, frame, d));
		break;
	case MOE_KIND_END:
		if (v->form == MOE_TRACED_TEXT)
			print_sums(v);
		break;
	default:
		return moe_frame_fail(frame, d, MOE_EINPUT, "a trace of routing holds frames of kind \"trace\" only");
	}
	return ferror(v->f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}
