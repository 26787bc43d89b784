#include "report/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "report/escape.h"

enum { MOST_VALUES = 256 };     /* the largest block */

/* One number of a type that is no block type. */
static double plain_value(const struct moe_tensor *t, uint64_t i)
{
	const uint8_t *p = t->data + i * (moe_dtype_nbits(t->type) / 8);
	double f64;
	uint64_t u64;
	float widened;

	if (t->type == MOE_F64) {
		memcpy(&f64, p, sizeof f64);
		return f64;
	}
	if (t->type == MOE_U64) {
		memcpy(&u64, p, sizeof u64);
		return (double)u64;
	}
	if (moe_dtype_is_whole(t->type))
		return (double)moe_whole(p, t->type);
	return t->type == MOE_BOOL ? *p : moe_widen(&widened, p, 1, t->type) ? (double)widened : NAN;
}

/* The values of the block that element i begins, or of the element alone; their number. */
static size_t block_values(const struct moe_tensor *t, uint64_t i, double value[MOST_VALUES])
{
	size_t n = moe_dtype_block(t->type);
	float widened[MOST_VALUES];

	if (n == 1) {
		value[0] = plain_value(t, i);
		return 1;
	}
	moe_widen(widened, t->data + moe_dtype_nbytes(t->type, i), n, t->type);
	for (size_t j = 0; j < n; j++)
		value[j] = (double)widened[j];
	return n;
}

double moe_tensor_value(const struct moe_tensor *t, uint64_t i)
{
	double value[MOST_VALUES];
	size_t n = moe_dtype_block(t->type);

	block_values(t, i / n * n, value);
	return value[i % n];
}

/* Does moe_tensor_value give numbers? The types of less than 16 bits that are no integers have none here, nor have complex ones. */
static bool has_numbers(const struct moe_tensor *t)
{
	float none;

	return moe_widen(&none, "", 0, t->type) || t->type == MOE_BOOL || t->type == MOE_U8 || t->type == MOE_I8 || t->type == MOE_I16 || t->type == MOE_U16 ||
	       t->type == MOE_I32 || t->type == MOE_U32 || t->type == MOE_I64 || t->type == MOE_U64;
}

void moe_tensor_values(const struct moe_tensor *t, struct moe_values *r)
{
	double sum = 0, squares = 0, value[MOST_VALUES];

	*r = (struct moe_values){.least = INFINITY, .largest = -INFINITY, .n = moe_tensor_count(t), .numbers = has_numbers(t)};
	if (!r->numbers)
		return;
	for (uint64_t i = 0, n; i < r->n; i += n) {
		n = block_values(t, i, value);
		for (size_t j = 0; j < n; j++) {
			double v = value[j];
			if (!isfinite(v)) {
				r->not_finite++;
				continue;
			}
			r->least = v < r->least ? v : r->least;
			r->largest = v > r->largest ? v : r->largest;
			sum += v;
			squares += v * v;
		}
	}
	if (r->n > r->not_finite) {
		r->mean = sum / (double)(r->n - r->not_finite);
		r->rms = sqrt(squares / (double)(r->n - r->not_finite));
	}
}

/* A name in a column of 14. */
static void print_name(FILE *f, const char *name)
{
	size_t n;

	fputs("  ", f);
	n = moe_print_escaped(f, name, strlen(name));
	fprintf(f, "%*s ", n < 14 ? (int)(14 - n) : 0, "");
}

static void print_tensor(FILE *f, const struct moe_tensor *t, unsigned values)
{
	struct moe_values r;
	char shape[128];

	moe_tensor_values(t, &r);
	print_name(f, t->name);
	fprintf(f, "%-5s %-14s", moe_dtype_name(t->type), moe_shape_string(t->shape, t->rank, shape, sizeof shape));
	if (r.numbers && r.n > r.not_finite)
		fprintf(f, " %.6g to %.6g, mean %.4g, rms %.4g", r.least, r.largest, r.mean, r.rms);
	if (r.not_finite)
		fprintf(f, ", %llu not finite", (unsigned long long)r.not_finite);
	for (uint64_t i = 0; i < r.n && i < values; i++)
		fprintf(f, "%s%.7g", i ? " " : "\n    ", moe_tensor_value(t, i));
	fputc('\n', f);
}

void moe_view_key(FILE *f, const struct moe_meta *m)
{
	print_name(f, m->key);
	for (size_t i = 0, n; i < m->value_nbytes; i += n + 1) {        /* moe.pg has several lines of several fields */
		for (n = 0; i + n < m->value_nbytes && m->value[i + n] != '\n' && m->value[i + n] != '\t'; n++)
			;
		moe_print_escaped(f, m->value + i, n);
		if (i + n + 1 < m->value_nbytes && m->value[i + n] == '\t')
			fputc('\t', f);
		else if (i + n + 1 < m->value_nbytes)
			fprintf(f, "\n  %-14s ", "");
	}
	fputc('\n', f);
}

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static json_t *tensor_json(const struct moe_tensor *t, unsigned values)
{
	json_t *o = json_object(), *shape = json_array(), *list;
	struct moe_values r;

	for (unsigned i = 0; i < t->rank; i++)
		json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
	moe_tensor_values(t, &r);
	json_object_set_new(o, "name", json_string(t->name));
	json_object_set_new(o, "dtype", json_string(moe_dtype_name(t->type)));
	json_object_set_new(o, "shape", shape);
	if (r.numbers && r.n > r.not_finite) {
		json_object_set_new(o, "min", number(r.least));
		json_object_set_new(o, "max", number(r.largest));
		json_object_set_new(o, "mean", number(r.mean));
		json_object_set_new(o, "rms", number(r.rms));
	}
	json_object_set_new(o, "not_finite", json_integer((json_int_t)r.not_finite));
	if (values) {
		list = json_array();
		for (uint64_t i = 0; i < r.n && i < values; i++)
			json_array_append_new(list, number(moe_tensor_value(t, i)));
		json_object_set_new(o, "values", list);
	}
	return o;
}

static enum moe_err dump(FILE *f, json_t *o, struct moe_diag *d)
{
	return moe_print_json(f, o) ? MOE_OK : moe_fail_errno(d, "cannot write");
}

enum moe_err moe_view_frame(FILE *f, const struct moe_frame *frame, uint64_t n, const struct moe_view_style *style, struct moe_diag *d)
{
	if (style->json) {
		json_t *o = json_pack("{s:I, s:s, s:I, s:I}", "frame", (json_int_t)n, "kind", moe_frame_kind(frame), "byte", (json_int_t)frame->at, "bytes",
				      (json_int_t)frame->nbytes);
		json_t *meta = json_object(), *tensors = json_array();
		for (size_t i = 0; i < frame->h.n_meta; i++)
			json_object_set_new(meta, frame->h.meta[i].key, moe_json_text(frame->h.meta[i].value, frame->h.meta[i].value_nbytes));
		for (size_t i = 0; i < frame->h.n_tensors; i++)
			json_array_append_new(tensors, tensor_json(&frame->h.tensor[i], style->values));
		json_object_set_new(o, "meta", meta);
		json_object_set_new(o, "tensors", tensors);
		return dump(f, o, d);
	}
	if (frame->nbytes) {
		fprintf(f, "frame %llu: ", (unsigned long long)n);
		moe_print_escaped(f, moe_frame_kind(frame), strlen(moe_frame_kind(frame)));
		fprintf(f, ", %zu bytes at byte %llu\n", frame->nbytes, (unsigned long long)frame->at);
	} else {        /* the tensors of a model, from one file or several */
		fprintf(f, "%zu tensors\n", frame->h.n_tensors);
	}
	for (size_t i = 0; i < frame->h.n_meta; i++)
		if (strcmp(frame->h.meta[i].key, "moe.kind") && strcmp(frame->h.meta[i].key, "moe.crc32"))
			moe_view_key(f, &frame->h.meta[i]);
	for (size_t i = 0; i < frame->h.n_tensors; i++)
		print_tensor(f, &frame->h.tensor[i], style->values);
	return ferror(f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}
