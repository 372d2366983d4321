"""What cut-outs are called: the category of each name, and which names are no things.

Packages name their pictures for people ("A Magellanic penguin.", "oncoming automobile"). Here a picture has a label,
the category as COCO words it where COCO has one, and a name of its own, which may be more special ("penguin").
"""

from __future__ import annotations

import re

from fo1agent.words.colors import COLORS


def split_words(text: str) -> frozenset[str]:
    """The names of a list with commas, over any number of lines."""
    return frozenset(" ".join(word.split()) for word in text.split(",") if word.strip())


# Labels of COCO, each with the titles that count as it. "drake=duck": it is called "duck"; "=sedan car": it has
# no name but the label.
_COCO_KINDS = """
airplane: =small airplane
apple: =red apple, =green apple
backpack:
banana:
baseball glove:
bear: =european bear, polar bear, panda
bed:
bench:
bicycle:
bird: adelaide rosella=parrot, blackbird, =black bird, crow, crowned crane=crane, cuckoo, drake=duck, duck,
  gander=goose, goose, guinea fowl, helmeted guinea fowl=guinea fowl, brown hen=hen, great blue heron=heron, lark,
  little penguin=penguin, magellanic penguin=penguin, penguin, magpie, rhea, ostrich, owl, peacock, pelican, pigeon,
  pink flamingo=flamingo, flamingo, quetzal, rainbow lorikeet=parrot, parrot, colorful rooster=rooster, rooster,
  seagull, silver gull=seagull, toucan, turkey, vulture, dove, eagle, swan, chicken, dodo
boat: sailboat, walnut sailboat=sailboat, canoe, speedboat, motor boat=motorboat, ship, passenger ship=ship, ferry,
  old chinese sailing ship=ship
book: =closed book, =green book, =blue book, =orange book, open book
bottle: baby bottle
bowl: =bowl with spoon
broccoli: =eat your broccoli
bus: =oncoming bus, minibus, trolleybus, =green bus
cake: birthday cake, shortcake
car: =automobile, =oncoming automobile, =sport utility vehicle, =sedan car, sports car, =vw beetle, race car, racing
  car=race car, taxi, oncoming taxi=taxi, police car, oncoming police car=police car
carrot:
cat: =black cat
cell phone: =mobile phone
chair: =seat
clock: alarm clock, mantelpiece clock
couch:
cow: ox, bull, water buffalo, zebu, yak
cup: mug, teacup without handle=teacup, hot beverage=coffee cup, cup with straw, bubble tea, tumbler glass=glass,
  glass of milk, glass of water, beer mug, very small pitcher=pitcher
dog: poodle, guide dog, service dog, dingo
donut: =doughnut
elephant:
frisbee: =flying disc
giraffe:
handbag: purse, clutch bag
horse: donkey
hot dog:
keyboard:
kite:
knife: kitchen knife
laptop:
motorcycle: motor scooter
mouse: =computer mouse
orange: =tangerine, =mandarin orange, =seville orange
person: fireman=firefighter, paratrooper
pizza: =quarter of pizza
potted plant:
sandwich: hamburger
scissors: =pair of closed scissors, =pair of open scissors
sheep: ram, ewe, lamb
skateboard:
skis:
spoon:
sports ball: soccer ball, baseball, softball, basketball, volleyball, american football=football, rugby
  football=rugby ball, tennis ball, cricket ball, football used in australian rules=football
stop sign:
suitcase: =luggage, briefcase
teddy bear: =edward bear
tennis racket:
tie:
toilet:
toothbrush:
traffic light: =vertical traffic light, =horizontal traffic light
train: locomotive, high-speed train, bullet train, metro, light rail, tram, railway car
truck: pickup truck, delivery truck, articulated lorry, fire engine=fire truck, fire truck, garbage truck, ambulance
tv: =television
umbrella: closed umbrella
vase: amphora
wine glass:
zebra:
"""
_OTHER_KINDS = """
pear: =yellow pear
lemon: =yellow lemon
mushroom: cep, red headed cep
cherries: =pair of cherries
bell pepper: =green pepper, =yellow pepper
chili pepper: =chile pepper, =hot pepper
kiwi: =kiwifruit, =kiwi fruit
potato: =brown potato
pumpkin: =very small pumpkin
tomato: =ripe
corn: =ear of corn, =sweet yellow corn
lionfish: =very poisonous lionfish
lobster: =spiny lobster
mallet: =large metal mallet
hourglass: =hourglass done, =hourglass not done
headphones: =headphone
dice: =game die
avocado: =avocado fruit
garlic: =garlic bulb
grapes: =bunch of grapes
sandal: =woman's sandal, =thong sandal
hat: =blue fedora, =green fedora, =feathered hat, =propeller hat, fedora, sombrero, top hat, =woman's hat
cap: =baseball cap, =billed cap
shirt: =t shirt, =t-shirt, =polo shirt, =folded shirt, running shirt
shoe: =man's shoe, running shoe, hiking boot, flat shoe, high-heeled shoe, woman's boot=boot
guitar: =electric guitar, =classical guitar, =electric bass guitar
drum: =floor tom drum
wrench: =adjustable wrench, =plumber's wrench
paintbrush: =large paintbrush
light bulb: =lightbulb
trash can: =silver garbage can, =wastebasket
mailbox: =postbox
flower: rose, tulip, hibiscus, hibiscus flower=hibiscus, sunflower, lotus, daffodil, marigold, iris, =white flower,
  =blossom, =yellow flower, =purple pigface flower, =red and white anemone flower, hyacinth
flag: =red flag, =green flag, =white flag, =yellow flag
fish: tropical fish, blowfish, butterflyfish, clownfish
rabbit: =little rabbit, =big eared rabbit
pig: =tamworth pig, boar
goat: =mountaingoat
lion:
tiger: =sumatran tiger
tree: evergreen tree, deciduous tree, palm tree
rhinoceros: =male black rhino
trophy: =trophy cup
balloon:
gloves:
camera: video camera, movie camera
key: old key
kangaroo: =red kangaroo
camel: dromedary, two-hump camel
gnu: =sitting gnu, =blue gnu
"""

# Packages list as things what is a part, a symbol, a place or several things.
_NO_THINGS = re.compile(
    r"\b("
    r"face|nose|prints|globe|map|mountain\w*|mount|volcano|camping|beach|desert|park|stadium|"
    r"building|construction|houses|office|post office|hospital|bank|hotel|store|school|factory|castle|"
    r"wedding|tokyo|statue|mosque|temple|synagogue|shrine|kaaba|foggy|night|cityscape|sunrise|sunset|"
    r"springs|station|stop|motorway|track|departure|arrival|o.clock|thirty|moon|sun|star|stars|milky|"
    r"cloud|fog|cyclone|rainbow|voltage|rain|water wave|high|fireworks|sparkle\w*|decoration|dolls|"
    r"ceremony|envelope|suit|joker|dragon|arts|framed|mail|e-mail|tray|flags?|chart|level|knobs|"
    r"notes?|score|locked|unlocked|speaker|banknote|money|microbe|bubbles|dna|x-ray|label|elevator|"
    r"cards|shell|wing|feather|fire|droplet|comet|tornado|wood|brick|rock|hut|ice|snowflake|wind|"
    r"oden|goal|wheel|badminton|tennis|hockey|cricket game|bowling|lacrosse|ping|clinking|liquid|salt|"
    r"butter|bouquet|petunia|performing|placard|amulet|hamsa|prayer|clothes|gumdrop|fluttering|fallen|"
    r"leaf|plant|lettuce|alien|eye|shoes|stripey|trash|phone with arrow|battery|page|memo|trackball|"
    r"film|disk|cut of meat|meat on bone|cooking|beans|fondue|surprise|guard|two|pair|fork and knife.*"
    r")\b"
)
# Names that say nothing to most people, or not what is to be seen.
_UNCLEAR = split_words(
    """
    mouse, necktie, couch and lamp, umbrella on ground, it's a cep, sliced orange, xanthia, adenium, appooppan
    thaadi, balsam, anthurium, gazania, albino peahen, flowers, pili nut tree, coral trout, dolphinfish,
    eggplant with fruit, home compost bin, wheelie bin, mate, link, pick, landslide, sake, knot, sari, alembic,
    moai, timer clock, tram car, leafy green, diya lamp, card index, custard, bell with slash, satellite
    antenna, roll of paper, drop of blood, spider web, coral, mirror ball, card index dividers, bookmark tabs,
    camera with flash, carousel horse, police car light, baby sheep, phoenix, egg, root vegetable, broken chain,
    tanabata tree, carp streamer, hair pick, reminder ribbon, ringed planet, wilted flower, suspension railway,
    aerial tramway, hatching chick, hammer and pick, hammer and wrench, videocassette, dvd, black nib, funeral
    urn, garden spade, measuring tape, carpentry saw, white cane, hook, dango, tamale
    """
)
_KEPT = split_words(
    """
    potted plant, fire engine, fire truck, flag, tennis racket, tennis ball, soccer ball, stop sign, ice cream,
    baby bottle, bullet train, high-speed train, high-heeled shoe, sunflower, wheel, house, teddy bear
    """
)
# Of these people name no colour, or that of a part.
UNCOLORED = split_words(
    "laptop, desktop computer, tv, zebra, panda, keyboard, watch, shopping bags, sunglasses, glasses, goggles"
)
# Things whose colour is in what they are; of another colour they are odd, or something else.
NATURAL_ONLY = split_words(
    """
    orange, taxi, police car, stop sign, traffic light, zebra, panda, fire truck, ambulance, person,
    firefighter, rooster, crow, blackbird, flamingo, watermelon, tomato, tv, clownfish, lady beetle
    """
)


def classify(title: str) -> tuple[str, str] | None:
    """(label, own name) of a picture that its package calls `title`, both lower case; None if it is no clear thing.

    >>> classify("oncoming automobile"), classify("A Magellanic penguin.")
    (('car', 'car'), ('bird', 'penguin'))
    """
    name = _plain(title)
    if name in _UNCLEAR:
        return None
    if name in _TABLE:
        return _TABLE[name]
    words = name.split()
    if not words or len(words) > 3 or not all(re.fullmatch(r"[a-z][a-z'-]*", word) for word in words):
        return None
    if name not in _KEPT and _NO_THINGS.search(name):
        return None
    # "brown slug" may be recoloured: the colour is no part of its name.
    name = " ".join(word for word in words if word not in COLORS) or name
    return _TABLE.get(name, (name, name))


def _plain(title: str) -> str:
    title = re.sub(r"\(.*?\)", "", title.lower()).replace("’", "'")
    title = re.sub(r"[“”\"]\S+( \S+)?[“”\"]", "", title)  # “Granny Smith” apple
    title = re.split(r"[,.!?—:]", title)[0]
    return re.sub(r"^(a|an|the|some|our)\s+", "", " ".join(title.split()))


def _read_table(text: str) -> dict[str, tuple[str, str]]:
    table = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        label, _, names = entry.partition(":")
        table[label] = (label, label)
        for name in filter(None, (" ".join(n.split()) for n in names.split(","))):
            title, sign, own = name.partition("=")
            table[title or own] = (label, label if sign and not title else own or title)
    return table


_COCO = _read_table(_COCO_KINDS)
_TABLE = _COCO | _read_table(_OTHER_KINDS)
COCO_LABELS = frozenset(label for label, _ in _COCO.values())
