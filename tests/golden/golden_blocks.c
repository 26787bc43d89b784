#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/safetensors.h"
#include "golden.h"
#include "io/map.h"

static const struct moe_tensor *find(const struct moe_header *h, const char *type, const char *what)
{
	char name[32];

	snprintf(name, sizeof name, "%s.%s", type, what);
	for (size_t i = 0; i < h->n_tensors; i++)
		if (!strcmp(h->tensor[i].name, name))
			return &h->tensor[i];
	return NULL;
}

static bool same(const struct moe_tensor *raw, const struct moe_tensor *want, enum moe_dtype type)
{
	size_t n = moe_tensor_count(want);
	float *have = calloc(n + 1, sizeof *have);
	bool good = want->type == MOE_F32 && raw->nbytes == moe_dtype_nbytes(type, n) && moe_widen(have, raw->data, n, type) &&
		    !memcmp(have, want->data, want->nbytes);

	free(have);
	return good;
}

bool golden_blocks(const char *dir, void (*tally)(const char *label, bool good))
{
	char path[4096];
	struct moe_header h = {0};
	struct moe_map *map;
	struct moe_diag d = {0};

	snprintf(path, sizeof path, "%s/blocks.safetensors", dir);
	if (access(path, F_OK))
		return false;
	if (moe_map_open(&map, path, &d) || moe_safetensors_parse(&h, map->bytes, map->nbytes, &d)) {
		printf("FAIL %s: %s\n", path, d.text);
		tally("blocks", false);
		return true;
	}
	for (int t = MOE_N_DTYPES; t < MOE_N_TYPES; t++) {
		const struct moe_tensor *raw = find(&h, moe_dtype_name((enum moe_dtype)t), "raw"), *want = find(&h, moe_dtype_name((enum moe_dtype)t), "f32");
		bool good = raw && want && same(raw, want, (enum moe_dtype)t);
		if (!good)
			printf("FAIL %s: %s differs\n", path, moe_dtype_name((enum moe_dtype)t));
		tally("blocks", good);
	}
	moe_header_free(&h);
	moe_map_close(map);
	return true;
}
