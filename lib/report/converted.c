#include "report/converted.h"

#include <math.h>
#include <string.h>

#include "model/parts.h"
#include "report/escape.h"

static json_t *integer(uint64_t n) { return json_integer((json_int_t)n); }

/* Root mean square of the changes over that of the numbers. */
static double relative(const struct moe_loss *l) { return l->reference > 0 ? sqrt(l->error / l->reference) : 0; }

static void add(struct moe_loss *to, const struct moe_loss *l)
{
	to->error += l->error;
	to->reference += l->reference;
	to->largest = fmax(to->largest, l->largest);
}

static void print_json(FILE *f, const struct moe_target *t, const struct moe_loss *loss)
{
	json_t *shape = json_array();

	for (unsigned i = 0; i < t->rank; i++)
		json_array_append_new(shape, integer(t->shape[i]));
	moe_print_json(f, json_pack("{so ss so ss ss sb so sf sf}", "tensor", moe_json_text(t->name, strlen(t->name)), "part", moe_part_name(t->part), "shape",
				    shape, "from", moe_dtype_name(t->from), "to", moe_dtype_name(t->to), "fallback", t->fallback, "bytes",
				    integer(t->nbytes + t->scale_nbytes), "relative_rms", relative(loss), "largest", loss->largest));
}

static void print_line(FILE *f, const struct moe_target *t, const struct moe_loss *loss)
{
	char shape[128];

	moe_print_escaped(f, t->name, strlen(t->name));
	fprintf(f, "  %s  %s", moe_shape_string(t->shape, t->rank, shape, sizeof shape), moe_dtype_name(t->from));
	if (t->from != t->to || t->fallback)
		fprintf(f, " to %s%s", moe_dtype_name(t->to), t->fallback ? " (its rows have no other type)" : "");
	fprintf(f, "  %llu bytes", (unsigned long long)(t->nbytes + t->scale_nbytes));
	if (loss->error > 0)
		fprintf(f, "  relative rms %.3g, at most %.3g", relative(loss), loss->largest);
	fputc('\n', f);
}

void moe_converted_tensor(struct moe_converted *c, FILE *f, bool json, const struct moe_target *t, const struct moe_loss *loss)
{
	c->part[t->part].tensors++;
	c->part[t->part].parameters += t->rows * t->cols;
	c->part[t->part].nbytes += t->nbytes + t->scale_nbytes;
	add(&c->part[t->part].loss, loss);
	c->all.tensors++;
	c->all.parameters += t->rows * t->cols;
	c->all.nbytes += t->nbytes + t->scale_nbytes;
	add(&c->all.loss, loss);
	c->fallbacks += t->fallback;
	if (f && json)
		print_json(f, t, loss);
	else if (f)
		print_line(f, t, loss);
}

static void print_row(FILE *f, const char *name, uint64_t tensors, uint64_t parameters, uint64_t nbytes, const struct moe_loss *l)
{
	fprintf(f, "%-10s %8llu %14llu %14llu %6.2f %12.3g %12.3g\n", name, (unsigned long long)tensors, (unsigned long long)parameters, (unsigned long long)nbytes,
		parameters ? 8 * (double)nbytes / (double)parameters : 0, relative(l), l->largest);
}

static json_t *sum_json(uint64_t tensors, uint64_t parameters, uint64_t nbytes, const struct moe_loss *l)
{
	return json_pack("{so so so sf sf}", "tensors", integer(tensors), "parameters", integer(parameters), "bytes", integer(nbytes), "relative_rms", relative(l),
			 "largest", l->largest);
}

void moe_converted_print(const struct moe_converted *c, FILE *f, bool json)
{
	json_t *parts = json_object(), *all = sum_json(c->all.tensors, c->all.parameters, c->all.nbytes, &c->all.loss);

	if (!json)
		fprintf(f, "%-10s %8s %14s %14s %6s %12s %12s\n", "part", "tensors", "parameters", "bytes", "bits", "relative rms", "largest");
	for (int p = 0; p < MOE_N_PARTS; p++) {
		const char *name = moe_part_name((enum moe_part)p);
		if (!c->part[p].tensors)
			continue;
		if (json)
			json_object_set_new(parts, name, sum_json(c->part[p].tensors, c->part[p].parameters, c->part[p].nbytes, &c->part[p].loss));
		else
			print_row(f, name, c->part[p].tensors, c->part[p].parameters, c->part[p].nbytes, &c->part[p].loss);
	}
	if (json) {
		json_object_set_new(all, "fallbacks", integer(c->fallbacks));
		json_object_set(all, "parts", parts);
		moe_print_json(f, json_incref(all));
	} else {
		print_row(f, "all", c->all.tensors, c->all.parameters, c->all.nbytes, &c->all.loss);
	}
	json_decref(parts);
	json_decref(all);
}
