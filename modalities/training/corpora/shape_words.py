"""What shapes and colours are called and how a caption of a shape is worded, in ten languages: data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modalities.training.corpora.phrases import COLOURS

LANGUAGES = ("en", "fr", "es", "de", "it", "pt", "ru", "ja", "zh", "ar")

_NOUNS = """
sphere||sphere,ball,globe|sphère,boule|esfera,bola|Kugel|\
sfera,palla|esfera,bola|шар,сфера|球,球体|球体,球|كرة
cube||cube|cube|cubo|Würfel|cubo|cubo|куб,кубик|立方体|立方体,正方体|مكعب
cylinder||cylinder|cylindre|cilindro|Zylinder|cilindro|cilindro|цилиндр|円柱|圆柱体,圆柱|أسطوانة
cone||cone|cône|cono|Kegel|cono|cone|конус|円錐|圆锥,圆锥体|مخروط
pyramid||pyramid|pyramide|pirámide|Pyramide|piramide|pirâmide|пирамида|ピラミッド,四角錐|金字塔|هرم
torus|🍩|torus,ring,donut|tore,anneau|toro,anillo|Torus,Ring|\
toro,anello|toro,anel|тор,кольцо|輪,ドーナツ|圆环|حلقة
stairs||stairs,staircase,steps|escalier,escaliers|escaleras,escalera|Treppe|\
scale,scala|escadas,escadaria|лестница,ступени|階段|楼梯,台阶|درج,سلالم
house|🏠|house,home|maison|casa|Haus|casa|casa|дом,домик|家|房子|بيت,منزل
star|⭐|star|étoile|estrella|Stern|stella|estrela|звезда|星|星星|نجمة
heart|❤|heart|cœur|corazón|Herz|cuore|coração|сердце|ハート|心,爱心|قلب
snowman|⛄|snowman|bonhomme de neige|muñeco de nieve|Schneemann|\
pupazzo di neve|boneco de neve|снеговик|雪だるま|雪人|رجل ثلج
rocket|🚀|rocket,spaceship|fusée|cohete|Rakete|razzo|foguete|ракета|ロケット|火箭|صاروخ
mushroom|🍄|mushroom,toadstool|champignon|seta,hongo|Pilz|fungo|cogumelo|гриб|きのこ|蘑菇|فطر
mug|☕|mug,coffee cup,cup|tasse,mug|taza|Tasse,Becher|\
tazza|caneca,xícara|кружка,чашка|マグカップ,カップ|杯子,马克杯|كوب,فنجان
boat|⛵|boat,sailboat|bateau,voilier|barco,velero|Boot,Segelboot|\
barca,barca a vela|barco,veleiro|лодка,парусник|ヨット,船|帆船,船|قارب,مركب شراعي
chair|🪑|chair|chaise|silla|Stuhl|sedia|cadeira|стул|椅子|椅子|كرسي
armchair||armchair,easy chair|fauteuil|sillón|Sessel|\
poltrona|poltrona|кресло|肘掛け椅子,アームチェア|扶手椅,单人沙发|أريكة فردية
sofa|🛋|sofa,couch|canapé,sofa|sofá|Sofa,Couch|divano|sofá|диван|ソファ,ソファー|沙发|أريكة
bed|🛏|bed|lit|cama|Bett|letto|cama|кровать|ベッド|床|سرير
table||table|table|mesa|Tisch|tavolo|mesa|стол|テーブル|桌子|طاولة
stool||stool|tabouret|taburete|Hocker|\
sgabello|banco alto,banqueta|табурет,табуретка|スツール|凳子|مقعد صغير
bench||bench|banc|banco|Bank,Sitzbank|panchina|banco de jardim|скамейка,скамья|ベンチ|长椅|مقعد طويل
lamp|💡|lamp,table lamp|lampe|lámpara|Lampe|\
lampada|lâmpada,candeeiro|лампа|ランプ,電気スタンド|灯,台灯|مصباح
bookcase||bookcase,bookshelf,shelves|bibliothèque,étagère|estantería,librería|Bücherregal,Regal|\
libreria,scaffale|estante,prateleira|книжный шкаф,стеллаж|本棚|书架|رف كتب,خزانة كتب
toilet|🚽|toilet|toilettes|inodoro,váter|Toilette|\
gabinetto,water|vaso sanitário,sanita|унитаз|トイレ,便器|马桶|مرحاض
bathtub|🛁|bathtub,bath|baignoire|bañera|Badewanne|\
vasca da bagno|banheira|ванна|浴槽,バスタブ|浴缸|حوض استحمام
piano|🎹|piano|piano|piano|Klavier|pianoforte|piano|пианино,рояль|ピアノ|钢琴|بيانو
bottle|🍾|bottle|bouteille|botella|Flasche|bottiglia|garrafa|бутылка|瓶,ボトル|瓶子|زجاجة
vase|🏺|vase|vase|jarrón,florero|Vase|vaso|vaso,jarra|ваза|花瓶|花瓶|مزهرية
plant|🪴|plant,potted plant|plante,plante en pot|planta|Pflanze,Topfpflanze|\
pianta|planta|растение|植物,観葉植物|植物,盆栽|نبتة,نبات
tree|🌲|tree|arbre|árbol|Baum|albero|árvore|дерево|木|树|شجرة
palm tree|🌴|palm tree,palm|palmier|palmera|Palme|palma|palmeira|пальма|ヤシの木|棕榈树|نخلة
car|🚗|car,automobile|voiture|coche,auto|Auto|\
macchina,automobile|carro,automóvel|машина,автомобиль|車,自動車|汽车,小汽车|سيارة
truck|🚚|truck,lorry|camion|camión|Lastwagen|camion|caminhão,camião|грузовик|トラック|卡车|شاحنة
bus|🚌|bus|bus,autobus|autobús|Bus|autobus|ônibus,autocarro|автобус|バス|公共汽车,巴士|حافلة
motorcycle|🏍|motorcycle,motorbike|moto|motocicleta,moto|Motorrad|\
motocicletta,moto|moto,motocicleta|мотоцикл|バイク,オートバイ|摩托车|دراجة نارية
bicycle|🚲|bicycle,bike|vélo,bicyclette|bicicleta|Fahrrad|\
bicicletta|bicicleta|велосипед|自転車|自行车|دراجة,دراجة هوائية
horse|🐎|horse|cheval|caballo|Pferd|cavallo|cavalo|лошадь,конь|馬|马|حصان
dog|🐕|dog|chien|perro|Hund|cane|cão,cachorro|собака|犬|狗|كلب
cat|🐈|cat|chat|gato|Katze|gatto|gato|кошка,кот|猫|猫|قطة
rabbit|🐇|rabbit,bunny|lapin|conejo|Kaninchen,Hase|coniglio|coelho|кролик|うさぎ|兔子|أرنب
chicken|🐔|chicken,hen|poule|gallina|Huhn|gallina|galinha|курица|鶏|鸡|دجاجة
deer|🦌|deer,stag|cerf|ciervo|Hirsch|cervo|veado,cervo|олень|鹿|鹿|غزال,أيل
person|🧍|person,human,figure of a person|personne|persona|Mensch,Person|\
persona|pessoa|человек|人|人|شخص,إنسان
teddy bear|🧸|teddy bear|ours en peluche|oso de peluche|Teddybär|\
orsacchiotto|urso de pelúcia|плюшевый мишка|テディベア|泰迪熊|دب محشو
airplane|✈|airplane,plane|avion|avión|Flugzeug|aereo|avião|самолёт|飛行機|飞机|طائرة
umbrella|☂|umbrella|parapluie|paraguas|Regenschirm|ombrello|guarda-chuva|зонт,зонтик|傘|雨伞|مظلة
ladder|🪜|ladder,step ladder|échelle,escabeau|escalera de mano|Leiter|\
scala a pioli|escada de mão|стремянка|はしご|梯子|سلم
door|🚪|door|porte|puerta|Tür|porta|porta|дверь|ドア|门|باب
guitar|🎸|guitar,electric guitar|guitare|guitarra|Gitarre|\
chitarra|guitarra|гитара|ギター|吉他|قيثارة,غيتار
"""
"""One noun a line: key, emoji (or nothing), then its names in each of LANGUAGES, the usual one first."""


@dataclass(frozen=True, slots=True)
class Noun:
    """What a kind of thing is called. emoji: none is "". names: language -> names, the usual one first."""

    emoji: str
    names: Mapping[str, tuple[str, ...]]


def _nouns() -> dict[str, Noun]:
    found = {}
    for line in _NOUNS.strip().splitlines():
        key, emoji, *names = line.split("|")
        found[key] = Noun(emoji, {k: tuple(v.split(",")) for k, v in zip(LANGUAGES, names, strict=True)})
    return found


NOUNS: dict[str, Noun] = _nouns()

_COLOUR_WORDS = {
    "en": "white|black|gray,grey|red|orange|yellow|green|blue|purple,violet|pink",
    "fr": "blanc,blanche|noir,noire|gris,grise|rouge|orange|jaune|vert,verte|bleu,bleue|violet,violette|rose",
    "es": "blanco,blanca|negro,negra|gris|rojo,roja|naranja|amarillo,amarilla|verde|azul|morado,morada|rosa",
    "de": "weißer,weiße,weißes|schwarzer,schwarze,schwarzes|grauer,graue,graues|roter,rote,rotes|oranger,orange,oranges"
    "|gelber,gelbe,gelbes|grüner,grüne,grünes|blauer,blaue,blaues|lila,violetter,violette|rosa",
    "it": "bianco,bianca|nero,nera|grigio,grigia|rosso,rossa|arancione|giallo,gialla|verde|blu|viola|rosa",
    "pt": "branco,branca|preto,preta|cinza|vermelho,vermelha|laranja|amarelo,amarela|verde|azul|roxo,roxa|rosa",
    "ru": "белый,белая,белое|чёрный,чёрная,чёрное|серый,серая,серое|красный,красная,красное"
    "|оранжевый,оранжевая,оранжевое|жёлтый,жёлтая,жёлтое|зелёный,зелёная,зелёное|синий,синяя,синее"
    "|фиолетовый,фиолетовая,фиолетовое|розовый,розовая,розовое",
    "ja": "白い|黒い|灰色の,グレーの|赤い|オレンジ色の|黄色い|緑の,緑色の|青い|紫の,紫色の|ピンクの",
    "zh": "白色的,白色|黑色的,黑色|灰色的,灰色|红色的,红色|橙色的,橙色"
    "|黄色的,黄色|绿色的,绿色|蓝色的,蓝色|紫色的,紫色|粉色的,粉红色的",
    "ar": "أبيض,بيضاء|أسود,سوداء|رمادي,رمادية|أحمر,حمراء|برتقالي,برتقالية|أصفر,صفراء|أخضر,خضراء|أزرق,زرقاء"
    "|بنفسجي,بنفسجية|وردي,وردية",
}

COLOUR_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    language: {c: tuple(w.split(",")) for c, w in zip(COLOURS, words.split("|"), strict=True)}
    for language, words in _COLOUR_WORDS.items()
}
"""Language -> colour -> its forms: genders where the language has them."""

FORM_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {"tall": ("tall", "high"), "flat": ("flat", "low"), "small": ("small", "little", "tiny")},
    "fr": {"tall": ("haut", "haute"), "flat": ("plat", "plate"), "small": ("petit", "petite")},
    "es": {"tall": ("alto", "alta"), "flat": ("plano", "plana"), "small": ("pequeño", "pequeña")},
    "de": {
        "tall": ("hoher", "hohe", "hohes"),
        "flat": ("flacher", "flache", "flaches"),
        "small": ("kleiner", "kleine"),
    },
    "it": {"tall": ("alto", "alta"), "flat": ("piatto", "piatta"), "small": ("piccolo", "piccola")},
    "pt": {"tall": ("alto", "alta"), "flat": ("plano", "plana"), "small": ("pequeno", "pequena")},
    "ru": {"tall": ("высокий", "высокая"), "flat": ("плоский", "плоская"), "small": ("маленький", "маленькая")},
    "ja": {"tall": ("高い", "背の高い"), "flat": ("平たい",), "small": ("小さい", "小さな")},
    "zh": {"tall": ("高的", "高高的"), "flat": ("扁的", "扁平的"), "small": ("小的", "小")},
    "ar": {"tall": ("طويل", "طويلة"), "flat": ("مسطح", "مسطحة"), "small": ("صغير", "صغيرة")},
}
"""Language -> what changes a shape's form -> words for it."""

FRAMES: dict[str, tuple[str, ...]] = {
    "en": (
        "{s}",
        "a {s}",
        "a {s}",
        "the {s}",
        "a 3D model of a {s}",
        "point cloud of a {s}",
        "this is a {s}",
        "one {s}",
    ),
    "fr": ("{s}", "un {s}", "une {s}", "le {s}", "la {s}", "modèle 3D : {s}", "c'est un {s}", "voici une {s}"),
    "es": ("{s}", "un {s}", "una {s}", "el {s}", "la {s}", "modelo 3D de {s}", "esto es un {s}", "aquí hay una {s}"),
    "de": (
        "{s}",
        "ein {s}",
        "eine {s}",
        "der {s}",
        "das {s}",
        "3D-Modell: {s}",
        "das ist ein {s}",
        "hier ist eine {s}",
    ),
    "it": ("{s}", "un {s}", "una {s}", "il {s}", "la {s}", "modello 3D: {s}", "questo è un {s}", "ecco una {s}"),
    "pt": ("{s}", "um {s}", "uma {s}", "o {s}", "a {s}", "modelo 3D de {s}", "isto é um {s}", "aqui está uma {s}"),
    "ru": ("{s}", "{s}", "это {s}", "вот {s}", "3D-модель: {s}", "здесь {s}"),
    "ja": ("{s}", "{s}", "{s}の3Dモデル", "これは{s}です", "{s}がある", "一つの{s}"),
    "zh": ("{s}", "一个{s}", "一个{s}", "{s}的3D模型", "这是{s}", "这里有一个{s}"),
    "ar": ("{s}", "{s}", "هذا {s}", "هذه {s}", "نموذج ثلاثي الأبعاد: {s}", "هنا {s}"),
}
"""Language -> what stands around a subject `{s}`."""

SUBJECTS: dict[str, tuple[str, ...]] = {
    "en": ("{f} {c} {x}", "{c} {f} {x}", "{f} {x} in {c}", "{f} {x}, {c}"),
    "fr": ("{f} {x} {c}", "{f} {x} de couleur {c}", "{x} {f} {c}", "{f} {x}, {c}"),
    "es": ("{x} {c} {f}", "{f} {x} {c}", "{x} {f} de color {c}", "{x} {f}, {c}"),
    "de": ("{f} {c} {x}", "{c} {f} {x}", "{f} {x}, {c}"),
    "it": ("{x} {c} {f}", "{f} {x} {c}", "{x} {f} di colore {c}", "{x} {f}, {c}"),
    "pt": ("{x} {c} {f}", "{f} {x} {c}", "{x} {f} de cor {c}", "{x} {f}, {c}"),
    "ru": ("{f} {c} {x}", "{c} {f} {x}", "{f} {x}, {c}"),
    "ja": ("{f}{c}{x}", "{c}{f}{x}"),
    "zh": ("{f}{c}{x}", "{c}{f}{x}"),
    "ar": ("{x} {c} {f}", "{x} {f} {c}", "{x} {f} لونه {c}"),
}
"""Language -> a noun `{x}` with a colour `{c}` and a form `{f}`, either of which may be empty."""
