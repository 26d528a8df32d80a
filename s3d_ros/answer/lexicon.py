"""Names of things in a home or an office: synonyms, plurals, broader words.

One line per thing: the name that labels usually have, then words that mean just the same. A label of
the map always wins over a synonym: where the map tells cups from mugs, so does the answer.
"""

from __future__ import annotations

from functools import cache

SAME = """
sofa: couch, settee
tv: television, telly, tv set, television set
refrigerator: fridge, fridge freezer, icebox
trash can: trash bin, garbage can, garbage bin, waste bin, rubbish bin, bin, dustbin, wastebasket, waste basket,\
 wastepaper basket, wastepaper bin, trashcan, rubbish can, litter bin
recycling bin: recycle bin
monitor: computer monitor, computer screen, pc monitor, pc screen, display
computer mouse: mouse, pc mouse
computer tower: pc, desktop computer, computer case, desktop pc, pc tower, tower pc, computer
keyboard: computer keyboard, pc keyboard
washer: washing machine, clothes washer, laundry machine
dryer: tumble dryer, clothes dryer
dishwasher: dish washer
stove: cooker, hob, cooktop, stovetop, stove top
oven:
microwave: microwave oven
heater: radiator
telephone: phone, landline
ceiling light: ceiling lamp, overhead light, overhead lamp, ceiling fixture
table lamp: desk lamp, bedside lamp
floor lamp: standing lamp, standard lamp
toilet: loo, lavatory, wc
bathtub: bath tub, bath, tub
shower: shower cabin, shower cubicle, shower stall
sink: basin, washbasin, wash basin
faucet: tap
whiteboard: white board, dry erase board, dry wipe board
blackboard: chalkboard
plant: potted plant, house plant, houseplant, pot plant
plant pot: flower pot, flowerpot
fireplace: fire place
pillow:
cushion:
shoes: pair of shoes, trainers, sneakers
cup: mug
bookshelf: bookcase, book shelf, book case, bookshelves
shelf: shelving unit, rack
crate:
exhaust fan: extractor fan, extractor hood, range hood, cooker hood, extractor, ventilation fan
power strip: extension lead, extension cord, power bar, multi plug, socket strip, power board
laptop: notebook computer, laptop computer
basket:
blanket: throw
printer: photocopier, copier
bucket: pail
suitcase: luggage, travel case, trolley case
kettle: tea kettle
cutting board: chopping board, chopping block
pan: frying pan
pot: cooking pot
coat hanger: clothes hanger, hanger
coat rack: coat stand, coat tree, hat stand
clock:
bowl:
headphones: headset, earphones
shoe rack: shoe shelf, shoe stand
paper bag:
chair:
stool:
armchair: arm chair, easy chair
office chair: desk chair
bench:
ottoman: footstool, pouf, pouffe
table:
coffee table:
dining table: dinner table
desk:
nightstand: night stand, bedside table, night table
dresser: chest of drawers
bed:
crib: cot, baby cot
mattress:
wardrobe: closet, armoire
cabinet: cupboard
kitchen cabinet:
counter: countertop, worktop
drawer:
door: doorway
window:
curtain: drapes
blinds: window blinds
mirror:
picture: painting, picture frame
lamp:
light: light fixture
fan:
air conditioner: air con, ac unit, aircon
vacuum cleaner: hoover, vacuum
ironing board:
iron: clothes iron
towel:
toilet paper: toilet roll
soap dispenser:
toaster:
coffee maker: coffee machine, espresso machine
blender: food mixer
bottle:
vase:
book:
box:
backpack: rucksack, knapsack
handbag: purse
bag:
rug: carpet
stairs: staircase, stairway
ladder: stepladder, step ladder
piano:
guitar:
bicycle: bike
treadmill:
speaker: loudspeaker
projector: beamer
projector screen: projection screen
router: wifi router
remote control: tv remote, remote
game console: games console
umbrella:
candle:
scale:
tissue box: box of tissues
trolley: cart
fire extinguisher:
stapler:
scissors: pair of scissors
ball: football
teddy bear: stuffed animal, soft toy, plush toy
"""

# Words for a wider class of things: what they may stand for where no label says just that.
WIDER = {
    "light": ("ceiling light", "table lamp", "floor lamp", "lamp"),
    "lamp": ("ceiling light", "table lamp", "floor lamp", "light"),
    "screen": ("monitor", "tv", "projector screen"),
    "oven": ("stove",),
    "stove": ("oven",),
    "shelf": ("bookshelf",),
    "bin": ("recycling bin",),
    "shoe": ("shoes",),
    "computer": ("computer tower", "laptop"),
}

# Words that are no names of things here, even where a map has such a label.
RESERVED = frozenset(
    "object objects obj thing things item items room rooms place point points side sides corner"
    " corners edge edges center centre middle left right back front top bottom step steps path route"
    " distance size length width height depth area order first last one two here there me i you it"
    " is are the a an of in on at to by and or not no yes left behind above under near on what which"
    " where how who many metres centimetres millimetres feet inches squaremetres squarefeet unknown"
    " turn go forward robot camera position direction".split()
)

_IRREGULAR = {
    "shelf": "shelves", "bookshelf": "bookshelves", "knife": "knives", "mouse": "mice", "leaf": "leaves",
    "scarf": "scarves", "person": "people", "child": "children", "foot": "feet", "tooth": "teeth",
}  # fmt: skip


def plural(word: str) -> str:
    """Return the plural of one English noun."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if len(word) > 2 and word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def forms(name: tuple[str, ...]) -> dict[tuple[str, ...], bool]:
    """Return every form of a name of one or more words, and whether it is a plural.

    ``forms(("computer", "mouse"))``: computer mouse, computer mice, computer mouses.
    """
    head, last = name[:-1], name[-1]
    if not last.isalpha():
        return {name: False}
    out = {(*head, plural(last)): True, (*head, last + "s"): True, name: False}
    if last.endswith("s") and not last.endswith("ss") and len(last) > 3:
        out = {name: True, (*head, last[:-1]): False}  # shoes, headphones
    if last in _IRREGULAR.values():
        single = next(k for k, v in _IRREGULAR.items() if v == last)
        out = {name: True, (*head, single): False}
    return out


@cache
def synonyms() -> dict[str, tuple[str, ...]]:
    """Return the words that mean the same as each known word, itself first."""
    out: dict[str, tuple[str, ...]] = {}
    for line in SAME.strip().splitlines():
        name, _, rest = line.partition(":")
        group = (name.strip(), *(w.strip() for w in rest.split(",") if w.strip()))
        for word in group:
            out[word] = (word, *(w for w in group if w != word))
    for word in WIDER:
        out.setdefault(word, (word,))
    return out


def labels_for(word: str, labels: frozenset[str]) -> tuple[str, ...]:
    """Return the labels of a map that ``word`` stands for, () for none.

    In this order, the first that finds any: the label itself; a synonym; a label that ends in the
    word ("mouse" for "computer mouse"), or a thing of the wider class that the word names.
    """
    if word in labels:
        return (word,)
    same = tuple(w for w in synonyms().get(word, ()) if w in labels)
    if same:
        return same
    group = synonyms().get(word, (word,))
    ends = {label for label in labels for w in group if label.endswith(" " + w)}
    wider = {label for w in group for label in WIDER.get(w, ()) if label in labels}
    return tuple(sorted(ends | wider))
