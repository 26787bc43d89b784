/* Texts of samples: the first byte says what kind, the rest is KEY.json, KEY.txt, a line of a list, or a whole list. What is read has labels made of it. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "data/listing.h"
#include "data/packer.h"

static void listing(const uint8_t *data, size_t size)
{
	char *bytes = malloc(size + 1);
	struct moe_listing l;
	struct moe_diag d = {0};

	if (!bytes)
		return;
	memcpy(bytes, data, size);
	if (!moe_listing_read(&l, bytes, size, &d))
		for (size_t i = 0; i < l.n; i++)
			FUZZ_EXPECT(moe_listing_find(&l, l.row[i].file, l.row[i].n_file) == &l.row[i]);
	moe_listing_free(&l);
}

static void sample(const uint8_t *data, size_t size, enum moe_item_form form)
{
	static char name[] = "shard/key";
	struct moe_item item = {.name = name, .form = form, .text = malloc(size + !size), .n_text = size};
	struct moe_fit fit = {.grid = {{4, 16}}, .n_grids = 1, .patch_height = 8, .patch_width = 8, .std = {1, 1, 1}};
	struct moe_packer p = {.fit = &fit};
	struct moe_diag d = {0};
	struct moe_sample s;
	int32_t label[64];

	if (!item.text)
		return;
	memcpy(item.text, data, size);
	if (moe_sample_read(&s, &item, &d)) {
		FUZZ_EXPECT(d.code && d.text[0] && strstr(d.path, name));
	} else {
		FUZZ_EXPECT(s.n_questions && !s.picture && s.kind && s.question[0].answer[0]);
		for (size_t i = 0; i < s.n_boxes; i++)
			s.box[i].label = "";    /* there is no vocabulary */
		FUZZ_EXPECT(!moe_packer_labels(label, &p, 0, 77, 33, s.box, s.n_boxes, &d));
		moe_sample_clear(&s);
	}
	free(item.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] % 4 == 3)
		listing(data + 1, size - 1);
	else
		sample(data + 1, size - 1, (enum moe_item_form)(MOE_ITEM_JSON + data[0] % 4));
	return 0;
}
