"""Words of captions in the 16 languages; the pruned vocabulary keeps their pieces beside those of CLDR names."""

from __future__ import annotations

LANGUAGES = ("ar", "zh", "zh-Hant", "nl", "en", "fr", "de", "id", "it", "ja", "ko", "pl", "pt", "ru", "es", "th", "tr")
"""Names of the CLDR folders: the encoder's 16 languages, Chinese twice. Indonesian is not in its list but works."""

CAPTION_WORDS: dict[str, str] = {
    "en": "a an the one two three four five six seven eight nine ten red orange yellow green blue"
    " purple violet pink brown black white grey gray gold golden silver dark light bright colour"
    " background picture image photo drawing icon sticker illustration small big large tiny huge"
    " on in front of against with and many several some flat glossy cartoon style left right top"
    " bottom above below beside between behind plain solid simple cute shiny playful tasty"
    " barking sleeping galloping riding flying running jumping swimming dancing singing laughing"
    " crying smiling sitting standing walking eating drinking wooden metallic golden fluffy"
    " furry kitten puppy astronaut spaceship castle dragon robot knight wizard princess pirate"
    " mountain river forest beach ocean island desert garden street kitchen window bridge tower"
    " painting watercolor sketch render realistic beautiful colorful colourful transparent"
    " spinning bouncing moving falling rising glowing burning floating growing melting broken"
    " striped spotted round square",
    "fr": "un une des deux trois quatre cinq six rouge orange jaune vert verte bleu bleue violet"
    " violette rose brun marron noir noire blanc blanche gris grise doré argenté foncé clair sur"
    " fond avec et petit petite grand grande image dessin photo de style",
    "de": "ein eine einen zwei drei vier fünf sechs rot rote roter rotes orange gelb gelbe grün grüne"
    " grünem blau blaue blauem lila violett rosa braun schwarz schwarze schwarzem weiß weiße"
    " weißem grau auf vor mit und kleiner großer Hintergrund Bild Foto Zeichnung",
    "es": "un una unos dos tres cuatro cinco seis rojo roja naranja amarillo amarilla verde azul"
    " morado violeta rosa marrón negro negra blanco blanca gris dorado sobre fondo con y pequeño"
    " grande imagen dibujo foto de estilo",
    "it": "un una due tre quattro cinque sei rosso rossa arancione giallo gialla verde blu azzurro"
    " viola rosa marrone nero nera bianco bianca grigio dorato su sfondo con e piccolo grande"
    " immagine disegno foto di stile",
    "pt": "um uma dois duas três quatro cinco seis vermelho vermelha laranja amarelo amarela verde"
    " azul roxo violeta rosa marrom castanho preto preta branco branca cinza cinzento dourado"
    " sobre fundo com e pequeno grande imagem desenho foto de estilo",
    "nl": "een twee drie vier vijf zes rode rood oranje gele geel groene groen blauwe blauw paarse"
    " paars roze bruine bruin zwarte zwart witte wit grijze grijs gouden op achtergrond met en"
    " kleine grote afbeelding tekening foto van stijl",
    "pl": "jeden jedna dwa dwie trzy cztery pięć sześć czerwony czerwone czerwona pomarańczowy żółty"
    " żółta zielony zielone niebieski niebieskie niebieskim fioletowy różowy brązowy czarny"
    " czarnym biały białym szary złoty na tle z i mały duży obrazek rysunek zdjęcie",
    "ru": "один одна два две три четыре пять шесть красный красное красная оранжевый жёлтый желтый"
    " зелёный зеленый синий синем голубой фиолетовый розовый коричневый чёрный черном белый"
    " белом серый золотой на фоне с и маленький большой картинка рисунок фото",
    "tr": "bir iki üç dört beş altı kırmızı turuncu sarı yeşil mavi mor pembe kahverengi siyah beyaz"
    " gri altın arka plan planda üzerinde ile ve küçük büyük resim çizim fotoğraf",
    "id": "sebuah satu dua tiga empat lima enam merah oranye jingga kuning hijau biru ungu merah muda"
    " cokelat coklat hitam putih abu-abu emas di atas latar belakang dengan dan kecil besar"
    " gambar foto gaya",
    "ja": "一つの 二つの 三つの 四つの 五つの 1つ 2つ 3つ 赤い 赤 オレンジ色の 黄色い 黄色 緑の 緑色"
    " 青い 青 紫の 紫色 ピンクの 茶色の 黒い 白い 灰色の 金色の 背景の 背景に 小さな 大きな"
    " りんご リンゴ 絵 画像 写真 と の 上に 犬 猫 車 花 家",
    "zh": "一个 两个 三个 四个 五个 六个 红色的 红色 红 橙色 黄色 绿色 蓝色 紫色 粉色 粉红色 棕色"
    " 黑色 白色 灰色 金色 背景 上的 小 大 图片 图像 照片 苹果 狗 猫 汽车 花 和",
    "zh-Hant": "一個 兩個 三個 四個 五個 六個 紅色的 紅色 紅 橙色 黃色 綠色 藍色 紫色 粉紅色 棕色 黑色"
    " 白色 灰色 金色 背景 上的 小 大 圖片 照片 蘋果 狗 貓 汽車 花 和",
    "ko": "하나의 한 두 세 네 다섯 여섯 개의 빨간 빨간색 주황색 노란 노란색 초록색 녹색 파란 파란색"
    " 보라색 분홍색 갈색 검은 검은색 흰 하얀 회색 금색 배경의 배경에 작은 큰 그림 사진 사과 개"
    " 고양이 자동차 꽃 집",
    "ar": "واحد واحدة اثنان اثنتان ثلاثة ثلاث أربعة أربع خمسة خمس ستة أحمر حمراء برتقالي أصفر صفراء"
    " أخضر خضراء أزرق زرقاء بنفسجي وردي بني أسود سوداء أبيض بيضاء رمادي ذهبي على خلفية مع و صغير"
    " صغيرة كبير كبيرة صورة رسم تفاحة كلب قطة سيارة زهرة منزل",
    "th": "หนึ่ง สอง สาม สี่ ห้า หก สีแดง สีส้ม สีเหลือง สีเขียว สีน้ำเงิน สีฟ้า สีม่วง สีชมพู"
    " สีน้ำตาล สีดำ สีขาว สีเทา สีทอง บน พื้นหลัง กับ และ เล็ก ใหญ่ ภาพ รูป แอปเปิล สุนัข แมว"
    " รถยนต์ ดอกไม้ บ้าน",
}
