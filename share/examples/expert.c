/* The experts of a layer in C, with zlib and jansson but without the toolkit's library, for --exec:
 *
 *     cc -O2 expert.c -ljansson -lz -lm -o expert
 *     moe-convert --type f32 share/models/read wide          # this program reads F32 weights only
 *     moe-run --exec 'expert:1=./expert wide 1' picture.png      # the same answers
 *     moe-run --exec 'expert:1=./expert wide 1 5 6' picture.png  # what if experts 5 and 6 said nothing, with all else as it was?
 *
 * hidden += sum over slots i of weight_i · down (silu(gate u) · (up u)), u = normed, by the experts in expert_id (moe-stream(5) has the frames). */
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { MOST_HEADER = 16 << 20 };

struct expert {
	const float *gate, *up, *down;  /* [width][hidden], [width][hidden], [hidden][width] */
	int silent;
};

static void die(const char *what)
{
	fprintf(stderr, "expert: %s\n", what);
	exit(2);
}

static void *get(size_t n)
{
	void *p = malloc(n ? n : 1);
	if (!p)
		die("out of memory");
	return p;
}

/* A safetensors file or frame: its JSON, with the payload behind it. NULL at the end of the input. */
static json_t *read_frame(FILE *f, char **payload, size_t *n)
{
	uint8_t size[8];
	uint64_t length = 0;
	const char *name;
	char *text;
	json_t *header, *t;

	if (fread(size, 1, 8, f) != 8)
		return NULL;
	for (int i = 8; i--;)
		length = length << 8 | size[i];
	if (length > MOST_HEADER)
		die("not a frame");
	text = get(length);
	if (fread(text, 1, length, f) != length || !(header = json_loadb(text, length, 0, NULL)))
		die("a header is cut short or no JSON");
	free(text);
	*n = 0;
	json_object_foreach(header, name, t) {
		size_t end = (size_t)json_integer_value(json_array_get(json_object_get(t, "data_offsets"), 1));
		*n = end > *n ? end : *n;
	}
	*payload = get(*n);
	if (fread(*payload, 1, *n, f) != *n)
		die("a frame is cut short");
	return header;
}

/* A tensor of a frame, NULL if it is not there; its shape (1 where it has no such axis). */
static void *find(json_t *header, char *payload, const char *name, size_t *rows, size_t *columns)
{
	json_t *t = json_object_get(header, name), *shape = json_object_get(t, "shape");

	*rows = (size_t)json_integer_value(json_array_get(shape, 0));
	*columns = json_array_size(shape) > 1 ? (size_t)json_integer_value(json_array_get(shape, 1)) : 1;
	return t ? payload + json_integer_value(json_array_get(json_object_get(t, "data_offsets"), 0)) : NULL;
}

static const float *weight(json_t *header, char *payload, const char *layer, size_t e, const char *what, size_t *rows, size_t *columns)
{
	char name[200];
	float *w;

	snprintf(name, sizeof name, "model.layers.%s.mlp.experts.%zu.%s_proj.weight", layer, e, what);
	w = find(header, payload, name, rows, columns);
	if (w && strcmp(json_string_value(json_object_get(json_object_get(header, name), "dtype")), "F32"))
		die("the weights are not F32 (moe-convert --type f32)");
	return w;
}

static void add_expert(float *y, const float *u, const struct expert *x, float w, size_t hidden, size_t width, float *inner)
{
	for (size_t i = 0; i < width; i++) {
		float g = 0, v = 0;
		for (size_t j = 0; j < hidden; j++) {
			g += x->gate[i * hidden + j] * u[j];
			v += x->up[i * hidden + j] * u[j];
		}
		inner[i] = g / (1 + expf(-g)) * v;
	}
	for (size_t j = 0; j < hidden; j++) {
		float sum = 0;
		for (size_t i = 0; i < width; i++)
			sum += x->down[j * width + i] * inner[i];
		y[j] += w * sum;
	}
}

static void compute(json_t *header, char *payload, const struct expert *x, size_t experts, size_t hidden, size_t width)
{
	size_t rows, h, t, k;
	float *y = find(header, payload, "hidden", &rows, &h), *u = find(header, payload, "normed", &t, &h), *w, *inner = get(width * sizeof *inner);
	int32_t *id = find(header, payload, "expert_id", &t, &k);

	w = find(header, payload, "weight", &t, &k);
	if (!y || !u || !w || !id || h != hidden || t != rows)
		die("a routed frame lacks hidden, normed, expert_id or weight");
	for (size_t r = 0; r < rows; r++)
		for (size_t i = 0; i < k; i++) {
			int32_t e = id[r * k + i];
			if (e >= (int32_t)experts)
				die("an expert that the model does not have");
			if (e >= 0 && !x[e].silent)
				add_expert(y + r * hidden, u + r * hidden, &x[e], w[r * k + i], hidden, width, inner);
		}
	free(inner);
}

/* Writes the frame as it came, as hidden, with its checksum. What the router added may stay: nobody minds. */
static void write_frame(json_t *header, const char *payload, size_t n)
{
	char *text = json_dumps(header, JSON_COMPACT), *crc, digits[9];
	size_t length = strlen(text);
	uint8_t size[8];
	uLong sum;

	for (int i = 0; i < 8; i++)
		size[i] = (uint8_t)(length >> 8 * i);
	sum = crc32(crc32(crc32(0, size, 8), (const Bytef *)text, (uInt)length), (const Bytef *)payload, (uInt)n);
	snprintf(digits, sizeof digits, "%08lx", sum);
	crc = strstr(text, "\"moe.crc32\":\"");
	memcpy(crc + strlen("\"moe.crc32\":\""), digits, 8);
	fwrite(size, 1, 8, stdout);
	fwrite(text, 1, length, stdout);
	fwrite(payload, 1, n, stdout);
	if (fflush(stdout))
		die("cannot write");
	free(text);
}

int main(int argc, char **argv)
{
	struct expert x[1024] = {0};
	size_t experts = 0, hidden = 0, width = 0, n;
	char path[4096], at[40], *payload, *weights;
	json_t *header, *model;
	FILE *f;

	if (argc < 3)
		die("usage: expert MODEL LAYER [EXPERT THAT SAYS NOTHING]...");
	snprintf(path, sizeof path, "%s/model.safetensors", argv[1]);
	if (!(f = fopen(path, "rb")) || !(model = read_frame(f, &weights, &n)))
		die("cannot read MODEL/model.safetensors");
	for (size_t a, b; experts < 1024 && (x[experts].gate = weight(model, weights, argv[2], experts, "gate", &a, &b)); experts++) {
		x[experts].up = weight(model, weights, argv[2], experts, "up", &a, &b);
		x[experts].down = weight(model, weights, argv[2], experts, "down", &hidden, &width);
	}
	for (int i = 3; i < argc; i++)
		if (strtoul(argv[i], NULL, 10) < experts)
			x[strtoul(argv[i], NULL, 10)].silent = 1;
	snprintf(at, sizeof at, "%s.expert", argv[2]);
	for (; (header = read_frame(stdin, &payload, &n)); free(payload), json_decref(header)) {
		json_t *meta = json_object_get(header, "__metadata__");
		const char *kind = json_string_value(json_object_get(meta, "moe.kind"));
		if (kind && !strcmp(kind, "routed")) {
			compute(header, payload, x, experts, hidden, width);
			json_object_set_new(meta, "moe.kind", json_string("hidden"));
			json_object_set_new(meta, "moe.at", json_string(at));
		}
		json_object_set_new(meta, "moe.crc32", json_string("00000000"));
		write_frame(header, payload, n);
	}
	return 0;
}
