#include "report/spliced.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/escape.h"

/* A line of the table: sums over pairs for each layer. */
struct moe_spliced_line {
	char *rows;
	int32_t expert;
	double *gained, *possible;      /* [layers]: D - D of the corrupt run, D of the clean run - that */
};

const char *moe_splice_what_name(enum moe_splice_what w)
{
	static const char *const names[] = {
		[MOE_SPLICE_HIDDEN] = "hidden", [MOE_SPLICE_ATTENTION] = "attention", [MOE_SPLICE_EXPERTS] = "experts", [MOE_SPLICE_ROUTING] = "routing",
		[MOE_SPLICE_EXPERT] = "expert",
	};

	return names[w];
}

void moe_spliced_free(struct moe_spliced *r)
{
	while (r->n) {
		struct moe_spliced_line *l = &r->line[--r->n];
		free(l->rows);
		free(l->gained);
		free(l->possible);
	}
	free(r->line);
	r->line = NULL;
}

enum moe_err moe_spliced_pair(struct moe_spliced *r, const struct moe_splice_pair *p, struct moe_diag *d)
{
	(void)d;
	if (p->clean == p->corrupt) {
		r->equal++;
		return MOE_OK;
	}
	if (!r->pairs++) {
		r->pair = *p;
		r->pair.clean_name = r->pair.corrupt_name = NULL;
	}
	return MOE_OK;
}

static void set_name(json_t *o, const char *key, const char *name)
{
	if (name)
		json_object_set_new(o, key, moe_json_text(name, strlen(name)));
}

static bool print_json(const struct moe_spliced *r, const struct moe_splice_result *s)
{
	const struct moe_splice_pair *p = s->pair;
	json_t *o = json_pack("{s:I}", "pair", (json_int_t)p->index);

	set_name(o, "clean", p->clean_name);
	set_name(o, "corrupt", p->corrupt_name);
	json_object_set_new(o, "what", json_string(moe_splice_what_name(r->what)));
	json_object_set_new(o, "layer", json_integer((json_int_t)s->layer));
	json_object_set_new(o, "rows", moe_json_text(s->rows, strlen(s->rows)));
	json_object_set_new(o, "n_rows", json_integer((json_int_t)s->n_rows));
	if (s->expert >= 0)
		json_object_set_new(o, "expert", json_integer(s->expert));
	json_object_set_new(o, "clean_answer", moe_json_token(r->tokenizer, p->clean));
	json_object_set_new(o, "corrupt_answer", moe_json_token(r->tokenizer, p->corrupt));
	json_object_set_new(o, "clean_difference", json_real(p->clean_difference));
	json_object_set_new(o, "corrupt_difference", json_real(p->corrupt_difference));
	json_object_set_new(o, "difference", json_real(s->difference));
	json_object_set_new(o, "restored", json_real(s->restored));
	json_object_set_new(o, "answer", moe_json_token(r->tokenizer, s->answer));
	return moe_print_json(r->f, o);
}

static void print_name(FILE *f, const char *name)
{
	if (name)
		moe_print_escaped(f, name, strlen(name));
}

static void print_tsv(const struct moe_spliced *r, const struct moe_splice_result *s)
{
	const struct moe_splice_pair *p = s->pair;

	if (!r->results)
		fprintf(r->f, "pair\tclean\tcorrupt\twhat\tlayer\trows\tn_rows\texpert\tclean_answer\tcorrupt_answer\tclean_difference\tcorrupt_difference\t"
			      "difference\trestored\tanswer\n");
	fprintf(r->f, "%llu\t", (unsigned long long)p->index);
	print_name(r->f, p->clean_name);
	fputc('\t', r->f);
	print_name(r->f, p->corrupt_name);
	fprintf(r->f, "\t%s\t%zu\t", moe_splice_what_name(r->what), s->layer);
	print_name(r->f, s->rows);
	fprintf(r->f, "\t%zu\t", s->n_rows);
	if (s->expert >= 0)
		fprintf(r->f, "%d", s->expert);
	fprintf(r->f, "\t%d\t%d\t%.9g\t%.9g\t%.9g\t%.9g\t%d\n", p->clean, p->corrupt, p->clean_difference, p->corrupt_difference, s->difference, s->restored,
		s->answer);
}

/* The line of these rows and expert, a new one at the end if there is none. */
static enum moe_err find_line(struct moe_spliced *r, const struct moe_splice_result *s, struct moe_spliced_line **out, struct moe_diag *d)
{
	size_t layers = r->last - r->first + 1;
	struct moe_spliced_line fresh;

	for (size_t i = 0; i < r->n; i++)
		if (r->line[i].expert == s->expert && !strcmp(r->line[i].rows, s->rows)) {
			*out = &r->line[i];
			return MOE_OK;
		}
	MOE_TRY(moe_grow(&r->line, &r->cap, r->n + 1, sizeof *r->line, d));
	fresh = (struct moe_spliced_line){moe_strdup(s->rows), s->expert, calloc(layers, sizeof(double)), calloc(layers, sizeof(double))};
	r->line[r->n++] = fresh;
	*out = &r->line[r->n - 1];
	return fresh.rows && fresh.gained && fresh.possible ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

static enum moe_err add_up(struct moe_spliced *r, const struct moe_splice_result *s, struct moe_diag *d)
{
	struct moe_spliced_line *l;

	MOE_TRY(find_line(r, s, &l, d));
	l->gained[s->layer - r->first] += s->difference - s->pair->corrupt_difference;
	l->possible[s->layer - r->first] += s->pair->clean_difference - s->pair->corrupt_difference;
	return MOE_OK;
}

enum moe_err moe_spliced_add(struct moe_spliced *r, const struct moe_splice_result *s, struct moe_diag *d)
{
	bool ok = true;

	if (r->form == MOE_SPLICED_JSON)
		ok = print_json(r, s);
	else if (r->form == MOE_SPLICED_TSV)
		print_tsv(r, s);
	else
		MOE_TRY(add_up(r, s, d));
	r->results++;
	return ok && !ferror(r->f) ? MOE_OK : moe_fail_errno(d, "cannot write");
}

static void print_head(const struct moe_spliced *r)
{
	static const char *const text[] = {
		[MOE_SPLICE_HIDDEN] = "the clean run's rows behind", [MOE_SPLICE_ATTENTION] = "what the clean run's attention adds in",
		[MOE_SPLICE_EXPERTS] = "what the clean run's experts add in", [MOE_SPLICE_ROUTING] = "the clean run's choice of experts in",
		[MOE_SPLICE_EXPERT] = "what the clean run's expert adds in",
	};

	if (r->pairs == 1) {
		fprintf(r->f, "clean ");
		moe_print_token(r->f, r->tokenizer, r->pair.clean);
		fprintf(r->f, ", corrupt ");
		moe_print_token(r->f, r->tokenizer, r->pair.corrupt);
		fprintf(r->f, ": their logits differ by %.3f in the clean run, by %.3f in the corrupt one\n", r->pair.clean_difference, r->pair.corrupt_difference);
	} else {
		fprintf(r->f, "%llu pairs\n", (unsigned long long)r->pairs);
	}
	fprintf(r->f, "percent of the difference that %s a layer bring%s back:\n", text[r->what], r->what == MOE_SPLICE_HIDDEN ? "" : "s");
}

/* Bytes of the widest name of rows. */
static int name_width(const struct moe_spliced *r)
{
	size_t width = 5;

	for (size_t i = 0; i < r->n; i++)
		width = strlen(r->line[i].rows) > width ? strlen(r->line[i].rows) : width;
	return (int)(width < 40 ? width : 40);
}

static void print_line(const struct moe_spliced *r, const struct moe_spliced_line *l, int width)
{
	fprintf(r->f, "%-*s", width, l->rows);
	if (l->expert >= 0)
		fprintf(r->f, " %6d", l->expert);
	for (size_t i = 0; i <= r->last - r->first; i++)
		if (l->possible[i] != 0)
			fprintf(r->f, " %6.1f", rint(1000 * l->gained[i] / l->possible[i]) / 10 + 0.0);         /* + 0: no -0 */
		else
			fprintf(r->f, " %6s", "-");     /* a layer without experts */
	fputc('\n', r->f);
}

enum moe_err moe_spliced_finish(struct moe_spliced *r, struct moe_diag *d)
{
	if (r->form == MOE_SPLICED_TEXT && r->pairs) {
		int width = name_width(r);
		print_head(r);
		fprintf(r->f, "%-*s", width, "rows");
		if (r->what == MOE_SPLICE_EXPERT)
			fprintf(r->f, " %6s", "expert");
		for (size_t l = r->first; l <= r->last; l++)
			fprintf(r->f, " %6zu", l);
		fputc('\n', r->f);
		for (size_t i = 0; i < r->n; i++)
			print_line(r, &r->line[i], width);
	}
	return fflush(r->f) || ferror(r->f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}
